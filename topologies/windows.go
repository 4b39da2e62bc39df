package topologies

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/lovoo/goka"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
	"github.com/tintype/tintype/exactly"
	"github.com/tintype/tintype/transform/window"
)

// windowsStage keeps the open windows of each key in its table, and shows what they
// come to.
type windowsStage struct {
	*stageBase
	codec    windowCodec
	measures measureCodec
	marks    marks

	mu         sync.Mutex
	partitions map[int32]*windowsPartition
	// lates counts late uploads by aggregate and cause.
	lates map[[2]string]int64
}

// A windowsPartition is the part of a partition that lives in memory. Callbacks, the
// alarm and the face ask it.
type windowsPartition struct {
	mu sync.Mutex
	*window.Partition
	// cache holds keys as the open transaction has them; the table gets what was touched
	// when the transaction ends. So a key that is used often is read and decoded once,
	// and written once a transaction, however long its state.
	cache   map[string]*cachedKey
	touched []string
	// cached is the number of windows in the cache, as of the last commit.
	cached int
	// alarmed is when an alarm was sent that has not come yet.
	alarmed time.Time
}

// A cachedKey is a key of a partition, as the open transaction has it.
type cachedKey struct {
	*window.Key
	// held says that the table has it, touched that the open transaction changed it.
	held, touched bool
	// windows is how many it counts for in the cache.
	windows int
}

func newWindowsStage(base *stageBase) *windowsStage {
	return &windowsStage{stageBase: base, codec: windowCodec{base.Windows}, measures: measureCodec{base.Codecs.Measure}, partitions: map[int32]*windowsPartition{}, lates: map[[2]string]int64{}}
}

func (s *windowsStage) graph() *goka.GroupGraph {
	return goka.DefineGroup(
		goka.Group(Group(s.Deployment, event.StageWindows)),
		goka.Input(goka.Stream(s.Topics.Measures.Name), s.measures, s.measure),
		goka.Loop(s.Codecs.Wake, s.looped),
		goka.Persist(s.codec),
		goka.Output(goka.Stream(s.Topics.WindowResults.Name), s.Codecs.WindowResult),
		goka.Output(goka.Stream(s.Topics.Late.Name), s.Codecs.LateUpload),
		goka.Output(goka.Stream(s.Topics.DeadLetters.Name), s.Codecs.DeadLetter),
	)
}

// watermarkField is the watermark's name in the metadata of an offset of measures: a
// window that is closed must not open again after a restart.
const watermarkField = "watermark_ms"

func (s *windowsStage) hooks() exactly.Hooks {
	hooks := s.baseHooks()
	assigned, before, committed := hooks.Assigned, hooks.BeforeCommit, hooks.Committed
	hooks.Assigned = func(ctx context.Context, claims []exactly.Claim) error {
		return errors.Join(assigned(ctx, claims), s.assign(claims))
	}
	hooks.BeforeCommit = func(ctx context.Context) error {
		if err := before(ctx); err != nil {
			return err
		}
		return s.save(ctx)
	}
	hooks.Metadata = func(topic string, partition int32) string {
		mark := s.marks.next(topic, partition)
		if topic != s.Topics.Measures.Name {
			return writeMetadata("mark", mark)
		}
		return writeMetadata(watermarkField, strconv.FormatInt(s.partition(partition).Watermark(), 10), "mark", mark)
	}
	hooks.Committed = func() {
		committed()
		s.marks.commit()
		for partition, p := range s.held() {
			p.mu.Lock()
			p.Commit()
			if p.cached > maxCachedWindows {
				p.forget()
			}
			s.Metrics.windowsPartition(partition, p.Watermark(), p.Len())
			p.mu.Unlock()
		}
	}
	hooks.Revoked = func([]exactly.Claim) { s.Metrics.windowsRevoked() }
	return hooks
}

// held are the partitions that are assigned.
func (s *windowsStage) held() map[int32]*windowsPartition {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.partitions
}

func (s *windowsStage) partition(partition int32) *windowsPartition { return s.held()[partition] }

// assign goes back to the last commit, or builds up what the table and the committed
// watermarks say.
func (s *windowsStage) assign(claims []exactly.Claim) error {
	if s.marks.assign(claims) {
		for _, p := range s.held() {
			p.mu.Lock()
			p.Rollback()
			p.forget()
			p.alarmed = time.Time{}
			p.mu.Unlock()
		}
		return nil
	}
	partitions := map[int32]*windowsPartition{}
	for _, c := range claims {
		if c.Topic != s.Topics.Measures.Name {
			continue
		}
		p, err := s.recover(c)
		if err != nil {
			s.marks.committed = nil // Whatever is half built is built anew.
			return err
		}
		partitions[c.Partition] = p
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.partitions = partitions
	return nil
}

// recover builds the index of a partition from its table.
func (s *windowsStage) recover(c exactly.Claim) (*windowsPartition, error) {
	watermark, err := strconv.ParseInt(readMetadata(c.Metadata)[watermarkField], 10, 64)
	if err != nil {
		if c.Offset >= 0 {
			return nil, exactly.Permanent(fmt.Errorf("topologies: the committed offset %d of %s/%d has no watermark: another program committed it; "+
				"delete the group's offsets and its table to read the measures anew", c.Offset, c.Topic, c.Partition))
		}
		watermark = window.Unknown
	}
	n := s.stageBase.partitions
	p := &windowsPartition{cache: map[string]*cachedKey{}, Partition: window.NewPartition(window.PartitionConfig{
		Sources: n, Feeders: append(tasksOf(event.StageExtract, n), tasksOf(event.StageTransform, n)...),
		WatermarkMS: watermark, CadenceMS: s.EarlyCadence.Milliseconds(), SlackMS: s.EarlyCadence.Milliseconds() / 4,
		Limit: s.MaxOpenWindows, LimitBytes: maxKeyBytes,
	})}
	var broken error
	err = s.status.EachKey(c.Partition, "", func(key string, value []byte) bool {
		var k *window.Key
		if k, broken = window.DecodeKey(value, s.Windows); broken == nil {
			p.Recover(key, k)
		}
		return broken == nil
	})
	p.Commit()
	if broken != nil {
		return nil, exactly.Permanent(fmt.Errorf("topologies: table of windows, partition %d: %w", c.Partition, broken))
	}
	return p, err
}

// measure takes an upload into the windows of one dimension, or hears how far the
// stages before have come.
func (s *windowsStage) measure(ctx goka.Context, value any) {
	record := value.(*readMeasure)
	p := s.partition(ctx.Partition())
	p.mu.Lock()
	defer p.mu.Unlock()
	if controlOf(ctx.Headers()) == event.ControlWatermarks {
		if err := s.hear(record.raw, p.Hear); err != nil {
			s.foreign(ctx, err)
		}
		s.wake(ctx, p)
		return
	}
	dimension, _ := splitMeasureKey(ctx.Key())
	aggregates := s.Windows.Of(dimension)
	if record.err != nil {
		s.foreign(ctx, record.err)
		return
	}
	if len(aggregates) == 0 {
		return // Of a dimension that is not declared any more.
	}
	k := s.key(ctx, p)
	results, late := p.Add(ctx.Key(), k.Key, aggregates, &record.event, s.Now().UnixMilli())
	for _, l := range late {
		s.late(ctx, s.measures.stamp(record), l)
	}
	s.emit(ctx, results)
}

// looped wakes a key, or the whole partition.
func (s *windowsStage) looped(ctx goka.Context, value any) {
	record := value.(*event.Decoded[*eventpb.Wake])
	p := s.partition(ctx.Partition())
	p.mu.Lock()
	defer p.mu.Unlock()
	if controlOf(ctx.Headers()) == event.ControlAlarm {
		p.alarmed = time.Time{}
		s.wake(ctx, p)
		return
	}
	if record.Err != nil {
		s.foreign(ctx, record.Err)
		return
	}
	k := s.key(ctx, p)
	s.emit(ctx, p.Wake(ctx.Key(), k.Key, s.Now().UnixMilli()))
}

// wakesPerRecord bounds how many keys one callback wakes, so that the flow goes on
// while many windows close; an alarm comes for the rest.
const wakesPerRecord = 250

// wake loops a record back to each key that is due.
func (s *windowsStage) wake(ctx goka.Context, p *windowsPartition) {
	now := s.Now().UnixMilli()
	for _, key := range p.Due(now, wakesPerRecord) {
		ctx.Loopback(key, &eventpb.Wake{SentAtMs: now})
	}
}

// maxKeyBytes is how long the state of a key may be when a window is opened: beyond, it
// overflows. What is open may still grow, up to what a record of the table holds.
const maxKeyBytes = event.MaxWindowBytes * 3 / 4

// maxCachedWindows bounds the cache of a partition between transactions: a window whose
// sketches are open takes about a kilobyte of memory.
const maxCachedWindows = 20_000

// forget empties the cache.
func (p *windowsPartition) forget() {
	clear(p.cache)
	p.touched, p.cached = nil, 0
}

// key is the state of the record's key, to be changed.
func (s *windowsStage) key(ctx goka.Context, p *windowsPartition) *cachedKey {
	k := p.cache[ctx.Key()]
	if k != nil {
		p.touch(ctx.Key(), k)
		return k
	}
	k = &cachedKey{Key: new(window.Key)}
	p.cache[ctx.Key()] = k
	p.touch(ctx.Key(), k)
	value := ctx.Value()
	if value == nil {
		return k
	}
	state := value.(*decodedKey)
	if state.err != nil {
		ctx.Fail(fmt.Errorf("topologies: table of windows: key %q: %w", ctx.Key(), state.err))
	}
	if undeclared := state.key.Undeclared(); undeclared > 0 { // They are not written back.
		s.tally.undeclared(undeclared)
	}
	k.Key, k.held = state.key, true
	return k
}

// save writes what the transaction has touched into the table; a key without open
// windows is in neither.
func (s *windowsStage) save(ctx context.Context) error {
	for _, p := range s.held() {
		p.mu.Lock()
		err := p.save(ctx)
		p.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *windowsPartition) touch(key string, k *cachedKey) {
	if !k.touched {
		k.touched, p.touched = true, append(p.touched, key)
	}
}

func (p *windowsPartition) save(ctx context.Context) error {
	for _, key := range p.touched {
		k := p.cache[key]
		k.touched = false
		value := k.Encode()
		p.cached += k.Len() - k.windows
		k.windows = k.Len()
		if value == nil {
			delete(p.cache, key)
		}
		if value == nil && !k.held {
			continue
		}
		if err := exactly.SetValue(ctx, key, value); err != nil {
			return err
		}
		k.held = true
	}
	p.touched = p.touched[:0]
	return nil
}

// decodedKey is a value of the table; see [event.Decoded].
type decodedKey struct {
	key *window.Key
	err error
}

// windowCodec reads and writes values of the table.
type windowCodec struct{ set *window.Set }

// Encode implements goka.Codec.
func (windowCodec) Encode(value any) ([]byte, error) {
	k, ok := value.(*window.Key)
	if !ok {
		return nil, fmt.Errorf("topologies: encode %T: want open windows", value)
	}
	return k.Encode(), nil
}

// Decode implements goka.Codec; it never fails.
func (c windowCodec) Decode(data []byte) (any, error) {
	k, err := window.DecodeKey(data, c.set)
	return &decodedKey{k, err}, nil
}
