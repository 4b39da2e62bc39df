package window

// A Partition is what a stage of windows knows of one of its partitions, beside the
// open windows of each key, which the caller keeps: the watermark, which keys have
// something to close at which watermark, and which have something to show at which
// time of day. Changes since the last Commit can be rolled back, together with the
// keys. It is not safe for concurrent use.
type Partition struct {
	config    PartitionConfig
	heard     *Watermarks
	watermark int64
	// closing is by watermark, showing by time of day.
	closing, showing *Index

	// committed is the watermark of the last commit.
	committed int64
}

// PartitionConfig says how a partition works.
type PartitionConfig struct {
	Set *Set
	// Sources is the number of sources.
	Sources int
	// Feeders are the tasks that can send records of any source.
	Feeders []Task
	// WatermarkMS is the watermark of the last commit; Unknown where there was none.
	WatermarkMS int64
	// CadenceMS is the least time between two early results of a key.
	CadenceMS int64
	// SlackMS is how long over the cadence a key that has changed is not woken for it: an
	// event of its own, if one comes, shows the key at no cost.
	SlackMS int64
	// Limit is how many open windows of an aggregate a key may have.
	Limit int
	// LimitBytes is how long the state of a key may be for another window to open; 0: any
	// length.
	LimitBytes int
}

// NewPartition makes a partition without open windows.
func NewPartition(c PartitionConfig) *Partition {
	return &Partition{
		config: c, watermark: c.WatermarkMS, committed: c.WatermarkMS, closing: NewIndex(), showing: NewIndex(),
		heard: NewWatermarks(c.Sources, func(int) []Task { return c.Feeders }),
	}
}

// Recover tells of a key that has open windows already, before anything is read. It
// is of the last commit: a rollback leaves it.
func (p *Partition) Recover(key string, k *Key) {
	p.place(key, k)
	p.closing.Commit()
	p.showing.Commit()
}

// place puts a key where its next close and early result are due. What the key itself
// knows of that spares asking the indexes with every event.
func (p *Partition) place(key string, k *Key) {
	now := placed{known: true, showing: k.Dirty()}
	now.closeAt, now.closing = k.Deadline()
	was := k.placed
	if was.known && was.closing && now.closing {
		now.closeAt = min(now.closeAt, was.closeAt) // As the index holds it.
	}
	k.placed = now
	if was == now {
		return
	}
	if now.closing {
		p.closing.Set(key, now.closeAt)
	} else {
		p.closing.Remove(key)
	}
	if now.showing {
		p.showing.Set(key, k.ShownAtMS+p.config.CadenceMS+p.config.SlackMS)
	} else {
		p.showing.Remove(key)
	}
}

// Hear takes in a task's vector. The watermark follows and never goes back.
func (p *Partition) Hear(task Task, s Sources) {
	p.heard.Hear(task, s)
	if vector, ok := p.heard.Vector(); ok {
		p.watermark = max(p.watermark, vector.Least())
	}
}

// Watermark is the watermark in ms; Unknown as long as there is none.
func (p *Partition) Watermark() int64 { return p.watermark }

// Sources is what was heard of each source; ok is false where nothing was.
func (p *Partition) Sources() (s Sources, ok bool) { return p.heard.Vector() }

// Add takes an event into the windows of a key and returns its early results, if a
// cadence has passed since the last ones, and the windows that do not count it.
func (p *Partition) Add(key string, k *Key, aggregates []*Aggregate, e *Event, now int64) (results []Result, late []Late) {
	for _, a := range aggregates {
		limit := p.config.Limit
		if p.config.LimitBytes > 0 && k.bytes >= p.config.LimitBytes {
			limit = 0
		}
		late = append(late, k.Add(a, e, p.watermark, limit)...)
	}
	results = p.show(k, now)
	p.place(key, k)
	return results, late
}

// show returns the early results of a key, if there are any and it is time for them.
func (p *Partition) show(k *Key, now int64) []Result {
	if now-k.ShownAtMS < p.config.CadenceMS || !k.Dirty() {
		return nil
	}
	k.ShownAtMS = now
	return k.Show()
}

// Wake closes what is due of a key and shows the rest that has changed, if a cadence has
// passed since the last early results.
func (p *Partition) Wake(key string, k *Key, now int64) []Result {
	results := append(k.Close(p.watermark), p.show(k, now)...)
	k.undeclared, k.placed = 0, placed{} // It was taken out to be woken.
	p.place(key, k)
	return results
}

// Due takes out up to n keys that are to be woken: that have something to close, or
// something that has not been shown for a cadence.
func (p *Partition) Due(now int64, n int) []string {
	keys := p.closing.Take(p.watermark, n)
	seen := make(map[string]bool, len(keys))
	for _, key := range keys {
		seen[key] = true
	}
	for _, key := range p.showing.Take(now, n-len(keys)) {
		if !seen[key] {
			keys = append(keys, key)
		}
	}
	return keys
}

// IsDue reports whether Due may return a key.
func (p *Partition) IsDue(now int64) bool { return p.closing.Due(p.watermark) || p.showing.Due(now) }

// Len is the number of keys with open windows.
func (p *Partition) Len() int { return p.closing.Len() }

// Commit makes all changes lasting.
func (p *Partition) Commit() {
	p.closing.Commit()
	p.showing.Commit()
	p.heard.Commit()
	p.committed = p.watermark
}

// Rollback goes back to the last commit.
func (p *Partition) Rollback() {
	p.closing.Rollback()
	p.showing.Rollback()
	p.heard.Rollback()
	p.watermark = p.committed
}
