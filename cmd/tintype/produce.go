package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/tintype/tintype/bench/synthetic"
	"github.com/tintype/tintype/internal/deployment"
	"github.com/tintype/tintype/internal/produce"
)

// produceCommand uploads photos.
type produceCommand struct {
	deploymentFlags
	Paths []string `arg:"" optional:"" help:"Files and folders (recursive); - reads a list of paths from stdin, one a line."`

	Uploader       string        `help:"Who uploads." default:"cli"`
	Carry          string        `help:"How the bytes travel: inline in the event, by reference to the blob store, or auto by size." enum:"auto,inline,reference" default:"auto"`
	InlineLimit    int64         `help:"With auto, longest photo in bytes that travels inline." default:"262144"`
	Rate           float64       `help:"Uploads a second at most; 0 is as fast as it goes." default:"0"`
	Repeat         int           `help:"Send every photo so many times, each time as a new upload." default:"1"`
	UploadID       string        `help:"Upload id of the one file that is sent; sending it again is recognised as a repeat." placeholder:"ID"`
	UploadIDPrefix string        `help:"Upload ids are this and a running number, so that sending the same list again is recognised." placeholder:"PREFIX"`
	Synthetic      int           `help:"Upload so many generated photos instead." placeholder:"N"`
	Seed           uint64        `help:"Seed of the generated photos." default:"1"`
	Small          bool          `help:"Generate photos of a few kilobytes."`
	Wait           bool          `help:"Wait until every upload is a row in ClickHouse, and say how long that took."`
	WaitTimeout    time.Duration `help:"How long to wait after the last upload." default:"2m"`
	Output         string        `short:"o" help:"text, or json: one line an acknowledged upload." enum:"text,json" default:"text"`
}

// Help shows examples.
func (produceCommand) Help() string {
	return "Examples:\n  tintype produce --wait ~/Pictures\n  find . -name '*.jpg' | tintype produce -\n" +
		"  tintype produce --synthetic 1000 --small --seed 7 --rate 100 -o json"
}

// Run implements the command.
func (c *produceCommand) Run(e *env) error {
	if err := c.check(); err != nil {
		return &usageError{err}
	}
	if !c.Wait {
		c.ClickHouse = "" // Nobody needs it.
	}
	d, err := c.open(e.ctx, e.logger())
	if err != nil {
		return err
	}
	return errors.Join(c.run(e, d), d.Close())
}

func (c *produceCommand) check() error {
	switch {
	case len(c.Paths) == 0 && c.Synthetic == 0:
		return errors.New("produce: give files, folders, - or --synthetic N")
	case len(c.Paths) > 0 && c.Synthetic > 0:
		return errors.New("produce: give either paths or --synthetic")
	case c.Synthetic < 0 || c.Repeat < 1 || c.Rate < 0 || c.InlineLimit < 0:
		return errors.New("produce: --synthetic, --rate and --inline-limit cannot be negative, --repeat is at least 1")
	case c.UploadID != "" && (c.UploadIDPrefix != "" || c.Repeat > 1 || c.Synthetic > 1 || len(c.Paths) > 1):
		return errors.New("produce: --upload-id is for one file, sent once; use --upload-id-prefix for more")
	}
	return nil
}

func (c *produceCommand) source(e *env) produce.Source {
	if c.Synthetic > 0 {
		return produce.Synthetic(synthetic.New(synthetic.Options{Seed: c.Seed, Small: c.Small}), c.Synthetic)
	}
	return produce.Paths(c.Paths, e.stdin)
}
