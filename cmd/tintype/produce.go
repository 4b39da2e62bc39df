package main

import (
	"encoding/json"
	"errors"
	"fmt"
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
	Output         string        `short:"o" env:"-" help:"text, or json: one line an acknowledged upload." enum:"text,json" default:"text"`
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
		return errOneFile
	case c.UploadID != "" && len(c.Paths) == 1:
		if info, err := os.Stat(c.Paths[0]); c.Paths[0] == "-" || err == nil && info.IsDir() {
			return errOneFile
		}
	}
	return nil
}

var errOneFile = errors.New("produce: --upload-id is for one file, sent once; use --upload-id-prefix for more")

// run sends the photos and reports each, and all of them at the end.
func (c *produceCommand) run(e *env, d *deployment.Deployment) error {
	u := uploading{
		deployment: d, wait: c.Wait, waitTimeout: c.WaitTimeout, stderr: e.stderr,
		config: produce.Config{
			Carry: produce.Carry(c.Carry), InlineLimit: c.InlineLimit, Rate: c.Rate, Repeat: c.Repeat, Uploader: c.Uploader,
		},
	}
	if c.Synthetic > 0 {
		u.source = produce.Synthetic(synthetic.New(synthetic.Options{Seed: c.Seed, Small: c.Small}), c.Synthetic)
		u.total = int64(c.Synthetic * c.Repeat)
	} else {
		u.source = produce.Paths(c.Paths, e.stdin)
	}
	switch {
	case c.UploadID != "":
		u.config.UploadIDs = func(int) string { return c.UploadID }
	case c.UploadIDPrefix != "":
		u.config.UploadIDs = produce.PrefixedIDs(c.UploadIDPrefix)
	}
	var printErr error
	if c.Output == "json" {
		lines := json.NewEncoder(e.stdout)
		u.config.OnAck = func(a produce.Acked) { printErr = errors.Join(printErr, lines.Encode(a)) }
	}
	result, err := u.run(e.ctx)
	if err != nil {
		return err
	}
	return errors.Join(printErr, c.report(e, result))
}

// report prints how it went; its error makes the exit code.
func (c *produceCommand) report(e *env, o outcome) error {
	text := e.stdout
	if c.Output == "json" {
		text = e.stderr
	}
	_, err := fmt.Fprintf(text, "%d uploads acknowledged, %s, in %.1f s\n", o.Summary.Acked, bytesText(uint64(o.Bytes)), o.Elapsed.Seconds())
	if c.Wait && err == nil {
		_, err = fmt.Fprintf(text, "%d queryable, upload to queryable p50 %d ms, p99 %d ms\n", o.Queryable, o.P50.Milliseconds(), o.P99.Milliseconds())
	}
	if o.Failed > 0 {
		err = errors.Join(err, fmt.Errorf("%d files were not uploaded", o.Failed))
	}
	return errors.Join(err, o.missing(e.stderr))
}
