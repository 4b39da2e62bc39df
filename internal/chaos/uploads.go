package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tintype/tintype/bench/synthetic"
	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
)

// uploads produces uploads of all kinds into the topic of one round.
type uploads struct {
	client    *kgo.Client
	topic     string
	codec     *event.Codec[*eventpb.Upload]
	generator *synthetic.Generator
	random    *rand.Rand
	photo     int // index of the next photo
	ids       []string
	round     int
	ledger    *ledger
	pending   sync.WaitGroup
}

// newUploads makes the producer of the first round.
func newUploads(brokers, topic string, seed uint64, ledger *ledger) (*uploads, error) {
	client, err := newProducer(brokers)
	if err != nil {
		return nil, err
	}
	return &uploads{
		client: client, topic: topic, ledger: ledger, codec: event.NewCodecs().Upload, random: rand.New(rand.NewPCG(seed, 1)),
		generator: synthetic.New(synthetic.Options{Seed: seed, Small: true}),
	}, nil
}

func newProducer(brokers string) (*kgo.Client, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)), kgo.ProducerBatchMaxBytes(event.MaxUploadRecordBytes),
		kgo.RecordDeliveryTimeout(2*time.Minute), kgo.MaxBufferedRecords(2000))
	if err != nil {
		return nil, fmt.Errorf("chaos: connect the producer: %w", err)
	}
	return client, nil
}

// again goes on in a topic that was created anew, with a client that never knew
// the former one. Photos and upload ids of the former one come again.
func (u *uploads) again(brokers string) (err error) {
	u.client.Close()
	u.round++
	u.client, err = newProducer(brokers)
	return err
}

// next is one upload of the mixture: new photos (some of which the generator
// shows twice), photos that were sent before under a new upload id, upload ids
// that were sent before, and records without a key.
func (u *uploads) next() (*kgo.Record, error) {
	index := u.photo
	id := fmt.Sprintf("u%09d", u.photo)
	u.photo++
	if index > 0 {
		switch u.random.IntN(10) {
		case 0:
			id = u.ids[u.random.IntN(len(u.ids))]
		case 1:
			index = u.random.IntN(index)
		}
	}
	u.ids = append(u.ids, id)
	p := u.generator.Photo(index)
	r, err := u.record(id, p.Name, p.Data)
	if err == nil && u.random.IntN(10) == 0 {
		r.Key = nil
	}
	return r, err
}

func (u *uploads) record(id, name string, data []byte) (*kgo.Record, error) {
	value, err := u.codec.Encode(&eventpb.Upload{
		UploadId: id, Uploader: uploaderOf(id), Filename: name, UploadedAtMs: new(time.Now().UnixMilli()), Body: &eventpb.Upload_Inline{Inline: data},
	})
	if err != nil {
		return nil, fmt.Errorf("chaos: encode an upload: %w", err)
	}
	return &kgo.Record{Topic: u.topic, Key: []byte(id), Value: value}, nil
}

// uploaderOf is one of a few, the same for one upload id.
func uploaderOf(id string) string { return "chaos-" + id[len(id)-1:] }

// send produces a record; its answer goes into the ledger when it comes.
func (u *uploads) send(ctx context.Context, r *kgo.Record) {
	r.Topic = u.topic
	u.pending.Add(1)
	u.client.Produce(ctx, r, func(r *kgo.Record, err error) {
		defer u.pending.Done()
		if err != nil {
			u.ledger.unanswered()
			return
		}
		u.ledger.acked(entry{Round: u.round, Key: string(r.Key), Partition: r.Partition, Offset: r.Offset})
	})
}

// stream sends the mixture at a rate until ctx ends.
func (u *uploads) stream(ctx context.Context, rate float64) error {
	tick := time.NewTicker(time.Duration(float64(time.Second) / rate))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		r, err := u.next()
		if err != nil {
			return err
		}
		u.send(context.WithoutCancel(ctx), r)
	}
}

// flush waits for the answers.
func (u *uploads) flush(ctx context.Context) error {
	if err := u.client.Flush(ctx); err != nil {
		return fmt.Errorf("chaos: wait for the producer: %w", err)
	}
	u.pending.Wait()
	return nil
}

// bad sends records of a fault's kind.
func (u *uploads) bad(ctx context.Context, kind Kind, seed uint64) error {
	r := rand.New(rand.NewPCG(seed, 7))
	key := func() []byte { return fmt.Appendf(nil, "bad-%d", r.Uint64()) }
	switch kind {
	case Poison:
		for range 5 {
			noise := make([]byte, 50)
			for i := range noise {
				noise[i] = byte(r.Uint32())
			}
			u.send(ctx, &kgo.Record{Key: key(), Value: append([]byte{0xff, 0xff}, noise...)})
			photo, err := u.record(string(key()), "poison.jpg", append([]byte("\xff\xd8\xff\xe0"), noise...))
			if err != nil {
				return err
			}
			u.send(ctx, photo)
		}
	case Null:
		u.send(ctx, &kgo.Record{Key: key()})
		u.send(ctx, &kgo.Record{})
	case Oversize:
		data := make([]byte, event.MaxUploadRecordBytes-(64<<10))
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		inline, err := u.record(string(key()), "oversize.bin", data)
		if err != nil {
			return err
		}
		inline.Key = nil // So that it passes the loop.
		u.send(ctx, inline)
		long, err := u.record(string(bytes.Repeat([]byte("x"), event.MaxUploadIDBytes+1)), "long-id.jpg", data[:10])
		if err != nil {
			return err
		}
		u.send(ctx, long)
	case Slow:
		photo, err := slowPhoto(r)
		if err != nil {
			return err
		}
		record, err := u.record(string(key()), "slow.jpg", photo)
		if err != nil {
			return err
		}
		u.send(ctx, record)
	default:
		return errors.New("chaos: no records of kind " + string(kind))
	}
	return nil
}

// slowPhoto is a JPEG of 24 megapixels that takes its time.
func slowPhoto(r *rand.Rand) ([]byte, error) {
	m := image.NewYCbCr(image.Rect(0, 0, 6000, 4000), image.YCbCrSubsampleRatio420)
	for i := range m.Y {
		m.Y[i] = byte(r.Uint32() >> 4)
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 60}); err != nil {
		return nil, fmt.Errorf("chaos: encode a slow photo: %w", err)
	}
	return b.Bytes(), nil
}
