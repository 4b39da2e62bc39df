package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tintype/tintype/internal/deployment"
	"github.com/tintype/tintype/internal/produce"
	"github.com/tintype/tintype/internal/servers"
)

// An uploading sends a source's photos with progress, and may watch until they
// are queryable.
type uploading struct {
	deployment *deployment.Deployment
	config     produce.Config
	source     produce.Source
	// total is how many uploads there will be; 0: unknown.
	total int64
	// wait watches for the rows; waitTimeout counts from the last upload.
	wait        bool
	waitTimeout time.Duration
	stderr      io.Writer
}

// outcome is how an uploading went.
type outcome struct {
	produce.Summary
	produce.WaitResult
}

// run uploads, and reports failures of single files on stderr as they come.
func (u uploading) run(ctx context.Context) (outcome, error) {
	var result outcome
	client, err := u.deployment.Kafka.Client(produce.ClientOptions()...)
	if err != nil {
		return result, &setupError{err}
	}
	defer client.Close()
	u.config.Client, u.config.Topic = client, u.deployment.Topics.Uploads.Name
	u.config.Codec, u.config.Blobs = u.deployment.Codecs.Upload, u.deployment.Blobs

	var tracker *produce.Tracker
	var queryable func() int
	if u.wait {
		tracker = produce.Track(ctx, produce.InClickHouse(u.deployment.ClickHouse, u.deployment.UploadsID), 0)
		defer tracker.Close()
		queryable = tracker.Queryable
	}
	shown := showProgress(u.stderr, u.total, queryable)
	defer shown.end()
	onAck := u.config.OnAck
	u.config.OnAck = func(a produce.Acked) {
		shown.acked.Add(1)
		if tracker != nil {
			tracker.Acked(a)
		}
		if onAck != nil {
			onAck(a)
		}
	}
	u.config.OnFail = func(f produce.Failed) {
		if !servers.Refused(f.Err) { // That ends the run, which tells it once.
			shown.println(fmt.Sprintf("tintype: %v", f.Err))
		}
	}
	result.Summary, err = produce.Run(ctx, u.config, u.source)
	if servers.Refused(err) {
		return result, &setupError{u.deployment.Advise(err)}
	}
	if err != nil || tracker == nil {
		return result, err
	}
	result.WaitResult, err = tracker.Wait(ctx, u.waitTimeout)
	return result, err
}

// missing tells which uploads are not queryable.
func (o outcome) missing(w io.Writer) error {
	if len(o.Missing) == 0 {
		return nil
	}
	const shown = 10
	for i, a := range o.Missing {
		if i == shown {
			_, _ = fmt.Fprintf(w, "  and %d more\n", len(o.Missing)-shown) // There is nowhere else to say it.
			break
		}
		_, _ = fmt.Fprintf(w, "  not queryable: %s (%s), partition %d, offset %d\n", a.UploadID, a.File, a.Partition, a.Offset)
	}
	return errors.Join(fmt.Errorf("%d of %d uploads are not queryable yet; do the stages run (tintype run, tintype doctor)?", len(o.Missing), o.WaitResult.Acked), o.LookupErr)
}
