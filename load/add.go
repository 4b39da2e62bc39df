package load

import (
	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
)

// Developed adds the rows of a fate that was read at a position. A refusal says
// that ClickHouse does not take them: then the upload needs a dead letter, which
// carries its fate.
func (l *Loader) Developed(at event.Position, d *eventpb.Developed) *event.Refusal {
	l.mu.Lock()
	defer l.mu.Unlock()
	if refusal := l.refusal(&l.uploads, at); refusal != nil {
		return refusal
	}
	if l.uploads.wants(at) {
		l.uploads.rows = append(l.uploads.rows, uploadRowOf(at, d))
	}
	if d.Outcome == eventpb.Outcome_OUTCOME_ORIGINAL && l.renditions.wants(at) {
		for _, r := range renditionRowsOf(at, d) {
			l.renditions.rows = append(l.renditions.rows, r)
		}
	}
	return nil
}

// DeadLetter adds the row of a dead letter that was read at a position; for one of
// the loader's own also the row of the upload, which keeps its fate.
func (l *Loader) DeadLetter(at event.Position, d *eventpb.DeadLetter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.deadLetters.wants(at) {
		l.deadLetters.rows = append(l.deadLetters.rows, deadLetterRowOf(at, d))
	}
	if d.GetOutcome() != eventpb.Outcome_OUTCOME_UNSPECIFIED && l.uploads.wants(at) {
		l.uploads.rows = append(l.uploads.rows, refusedRowOf(at, d))
	}
}

// Window adds the row of a window's result that was read at a position. A refusal
// says that ClickHouse does not take it: then a dead letter tells of it.
func (l *Loader) Window(at event.Position, w *eventpb.WindowResult) *event.Refusal {
	return l.add(&l.windows, at, windowRowOf(at, w))
}

// Late adds the row of an upload that a window does not count; see Window.
func (l *Loader) Late(at event.Position, late *eventpb.LateUpload) *event.Refusal {
	return l.add(&l.lateUploads, at, lateRowOf(at, late))
}

// Tick adds the row of a tick; see Window.
func (l *Loader) Tick(at event.Position, t *eventpb.Ticked) *event.Refusal {
	return l.add(&l.ticks, at, tickRowOf(at, t))
}

// add adds the row of a record that is no fate, and whose only row it is. Its
// refusal names the table, which a fate's need not.
func (l *Loader) add(t *table, at event.Position, r row) *event.Refusal {
	l.mu.Lock()
	defer l.mu.Unlock()
	if refusal := l.refusal(t, at); refusal != nil {
		refusal.Detail = t.name + ": " + refusal.Detail
		return refusal
	}
	if t.wants(at) {
		t.rows = append(t.rows, r)
	}
	return nil
}
