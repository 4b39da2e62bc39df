// Package bench measures the pipeline against the bare loop of its own
// functions, on seeded photos. Package synthetic generates them.
package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/google/uuid"

	"github.com/tintype/tintype/bench/synthetic"
	"github.com/tintype/tintype/internal/deployment"
	"github.com/tintype/tintype/internal/produce"
)

// Options say what to measure.
type Options struct {
	// Photos is how many photos a round has; their bytes are held in memory.
	Photos int
	// Rounds is how often both sides are measured, by turns, each round with
	// other photos.
	Rounds int
	Seed   uint64
	Small  bool
	// Rate is how many uploads a second the latency is measured at; 0: half of
	// the throughput that was found.
	Rate float64
	// Timeout bounds the wait for the last rows of a round.
	Timeout time.Duration
	// Progress, when set, hears what is being measured.
	Progress func(string)
}

// A Round is both sides on the same photos.
type Round struct {
	Bare     Figure `json:"bare"`
	Pipeline Figure `json:"pipeline"`
}

// Latency is the time from sending an upload until its row was queryable, in
// milliseconds, at a rate that the pipeline keeps up with.
type Latency struct {
	Photos int     `json:"photos"`
	Rate   float64 `json:"rate"`
	P50MS  float64 `json:"p50_ms"`
	P99MS  float64 `json:"p99_ms"`
	MaxMS  float64 `json:"max_ms"`
}

// A Report is what was measured, and on what.
type Report struct {
	Seed   uint64 `json:"seed"`
	Small  bool   `json:"small"`
	CPUs   int    `json:"cpus"`
	Go     string `json:"go"`
	System string `json:"system"`
	// PhotoBytes is the mean length of a photo.
	PhotoBytes int     `json:"photo_bytes"`
	Rounds     []Round `json:"rounds"`
	// Bare and Pipeline are the medians of the rounds.
	Bare     Figure `json:"bare"`
	Pipeline Figure `json:"pipeline"`
	// Share is the pipeline's throughput over the bare loop's.
	Share   float64 `json:"pipeline_over_bare"`
	Latency Latency `json:"latency"`
	// Missing are the uploads without a row at the deadline, over all rounds.
	Missing int `json:"missing"`
}

// Throughput measures an open deployment. The uploads topic must be the
// bench's own: other uploads would be counted as work. The photos are made
// before the clock starts; a round ends when the last row is queryable.
func Throughput(ctx context.Context, d *deployment.Deployment, work deployment.Work, o Options) (*Report, error) {
	if o.Photos < 1 || o.Rounds < 1 || o.Rate < 0 {
		return nil, errors.New("bench: photos and rounds are 1 at least, the rate is not negative")
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	runner, err := d.Runner(work)
	if err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() {
		ended <- runner.Run(running, d.PartitionCount)
		stop() // Nobody works any more: whoever waits for rows may give up.
	}()
	report, err := measure(running, d, work, o, runner.AwaitReady)
	stop()
	return report, errors.Join(err, <-ended)
}

func measure(ctx context.Context, d *deployment.Deployment, work deployment.Work, o Options, ready func(context.Context) error) (*Report, error) {
	if err := ready(ctx); err != nil {
		return nil, fmt.Errorf("bench: wait for the stages: %w", err)
	}
	r := &Report{Seed: o.Seed, Small: o.Small, CPUs: runtime.GOMAXPROCS(0), Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH}
	// A small round that is not counted: connections, caches, the first inserts.
	if _, err := pipeline(ctx, d, o, photosOf(o, o.Rounds, min(o.Photos, warmUp)), 0); err != nil {
		return nil, err
	}
	var bareFigures, pipelineFigures []Figure
	for i := range o.Rounds {
		o.Progress(fmt.Sprintf("round %d of %d: %d photos", i+1, o.Rounds, o.Photos))
		photos := photosOf(o, i, o.Photos)
		r.PhotoBytes += meanBytes(photos) / o.Rounds
		alone, err := bare(ctx, photos, work.Specs)
		if err != nil {
			return nil, err
		}
		began, cpu := time.Now(), cpuTime()
		result, err := pipeline(ctx, d, o, photos, 0)
		if err != nil {
			return nil, err
		}
		streamed := figure(result.Queryable, time.Since(began), cpuTime()-cpu)
		r.Rounds = append(r.Rounds, Round{Bare: alone, Pipeline: streamed})
		bareFigures, pipelineFigures = append(bareFigures, alone), append(pipelineFigures, streamed)
		r.Missing += len(result.Missing)
	}
	r.Bare, r.Pipeline = median(bareFigures), median(pipelineFigures)
	r.Share = r.Pipeline.PhotosPerSecond / r.Bare.PhotosPerSecond
	return r, latency(ctx, d, o, r)
}

// warmUp is how many photos are developed before anything is measured.
const warmUp = 20

// latency measures at a rate that leaves the pipeline room.
func latency(ctx context.Context, d *deployment.Deployment, o Options, r *Report) error {
	rate := o.Rate
	if rate == 0 {
		rate = r.Pipeline.PhotosPerSecond / 2
	}
	o.Progress(fmt.Sprintf("latency: %d photos at %.0f/s", o.Photos, rate))
	result, err := pipeline(ctx, d, o, photosOf(o, o.Rounds+1, o.Photos), rate)
	if err != nil {
		return err
	}
	r.Missing += len(result.Missing)
	r.Latency = Latency{
		Photos: result.Queryable, Rate: rate,
		P50MS: milliseconds(result.P50), P99MS: milliseconds(result.P99), MaxMS: milliseconds(result.Max),
	}
	return nil
}

// photosOf makes the photos of one round; no two rounds share a seed.
func photosOf(o Options, round, n int) [][]byte {
	g := synthetic.New(synthetic.Options{Seed: o.Seed<<16 + uint64(round), Small: o.Small})
	photos := make([][]byte, n)
	for i := range photos {
		photos[i] = g.Photo(i).Data
	}
	return photos
}

func meanBytes(photos [][]byte) int {
	sum := 0
	for _, p := range photos {
		sum += len(p)
	}
	return sum / len(photos)
}

// pipeline uploads photos and waits until each has its row.
func pipeline(ctx context.Context, d *deployment.Deployment, o Options, photos [][]byte, rate float64) (produce.WaitResult, error) {
	client, err := d.Kafka.Client(produce.ClientOptions()...)
	if err != nil {
		return produce.WaitResult{}, err
	}
	defer client.Close()
	tracker := produce.Track(ctx, produce.InClickHouse(d.ClickHouse, d.UploadsID), 0)
	defer tracker.Close()
	prefix := uuid.NewString()
	summary, err := produce.Run(ctx, produce.Config{
		Client: client, Topic: d.Topics.Uploads.Name, Codec: d.Codecs.Upload, Blobs: d.Blobs,
		Rate: rate, Uploader: "bench", UploadIDs: produce.PrefixedIDs(prefix), OnAck: tracker.Acked,
	}, func(yield func(produce.Item, error) bool) {
		for i, data := range photos {
			item := produce.Item{Name: fmt.Sprintf("%05d", i), Size: int64(len(data)), Open: func() ([]byte, error) { return data, nil }}
			if !yield(item, nil) {
				return
			}
		}
	})
	if err != nil {
		return produce.WaitResult{}, fmt.Errorf("bench: upload: %w", err)
	}
	if summary.Failed > 0 {
		return produce.WaitResult{}, fmt.Errorf("bench: upload: %d of %d photos were not acknowledged", summary.Failed, len(photos))
	}
	return tracker.Wait(ctx, o.Timeout)
}
