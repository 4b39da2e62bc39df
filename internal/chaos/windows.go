package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/internal/chaos/windowcount"
)

// aggregatesFile is what workers aggregate: windows that close while faults strike. The
// outcome is nothing that the log tells, so that verify alone compares it.
const aggregatesFile = `aggregates:
  - {kind: tumbling, size: 2s, grace: 3s, dimensions: [all, uploader, outcome]}
  - {kind: hopping, size: 4s, advance: 2s, grace: 5s, dimensions: [all]}
  - {kind: session, gap: 1s, grace: 2s, dimensions: [uploader], measures: [count, bytes_in, uploaders]}
  - {kind: tumbling, size: 5s, grace: 10s, dimensions: [all]}
`

// aggregates are those of the file that the log decides.
var aggregates = []windowcount.Aggregate{
	{Kind: "tumbling", Size: 2000, Grace: 3000, Dimension: "all"},
	{Kind: "tumbling", Size: 2000, Grace: 3000, Dimension: "uploader"},
	{Kind: "hopping", Size: 4000, Advance: 2000, Grace: 5000, Dimension: "all"},
	{Kind: "session", Gap: 1000, Grace: 2000, Dimension: "uploader"},
	{Kind: "tumbling", Size: 5000, Grace: 10_000, Dimension: "all"},
}

// closingPatience is how long the last windows may take to close once all is read.
const closingPatience = 90 * time.Second

// maxAhead is how far an event time may be ahead of its append time, by default.
const maxAhead = time.Minute

// A WindowsCount is how the windows compare with a count by hand.
type WindowsCount struct {
	// Windows are those that the log comes to; Missing of them have no final row, and
	// Wrong ones another count of uploads or uploaders.
	Windows int `json:"windows"`
	Missing int `json:"missing"`
	Wrong   int `json:"wrong"`
	// Invented are final rows of windows that the log does not come to, Open windows
	// that are not final, and Twice rows of the same revision.
	Invented int `json:"invented"`
	Open     int `json:"open"`
	Twice    int `json:"twice"`
	// Late are pairs of uploads and windows that came too late; LateBySender those that
	// would be without ticks, too.
	Late         int `json:"late"`
	LateBySender int `json:"late_by_sender"`
	LateMissing  int `json:"late_missing"`
	LateInvented int `json:"late_invented"`
	// LeftOut are uploads that a window does not count though they are not late.
	LeftOut int `json:"left_out"`
	// Keys are left in the table of windows, which should be empty.
	Keys int `json:"keys"`
	// Examples name the first differences.
	Examples []string `json:"examples"`
}

// example names a difference.
func (c *WindowsCount) example(format string, args ...any) {
	const most = 10
	if len(c.Examples) < most {
		c.Examples = append(c.Examples, fmt.Sprintf(format, args...))
	}
}

// failures says what is wrong.
func (c *WindowsCount) failures() []string {
	var failures []string
	for _, f := range []struct {
		what string
		n    int
	}{
		{"windows that are not final", c.Missing},
		{"windows that count something else", c.Wrong},
		{"windows that the log does not come to", c.Invented},
		{"windows left open", c.Open},
		{"rows of windows that are there twice", c.Twice},
		{"late uploads without a row", c.LateMissing},
		{"rows of uploads that are not late", c.LateInvented},
		{"uploads left out that are not late", c.LeftOut},
		{"keys left in the table of windows", c.Keys},
		{"uploads that the sender sent late", c.LateBySender},
	} {
		if f.n != 0 {
			failures = append(failures, fmt.Sprintf("%s: %d, should be 0", f.what, f.n))
		}
	}
	if c.Windows == 0 {
		failures = append(failures, "the log comes to no window")
	}
	if len(failures) > 0 {
		failures = append(failures, c.Examples...)
	}
	return failures
}

// writeAggregates writes the file of aggregates.
func (l *lab) writeAggregates() (string, error) {
	file := filepath.Join(l.dir, "aggregates.yaml")
	if err := os.WriteFile(file, []byte(aggregatesFile), 0o644); err != nil {
		return "", fmt.Errorf("chaos: write the aggregates: %w", err)
	}
	return file, nil
}

// keepWindowLog reads the topic uploads for the count by hand.
func (l *lab) keepWindowLog(ctx context.Context) error {
	return consume(ctx, l.kafka.addr(), l.topics.Uploads.Name, func(id uuid.UUID, r *kgo.Record) error {
		read, err := windowcount.ReadRecord(id, r)
		l.windowLog = append(l.windowLog, read)
		return err
	})
}

// countWindows waits until all windows of the log are closed, and compares them.
func (l *lab) countWindows(ctx context.Context) (*WindowsCount, error) {
	if err := l.keepWindowLog(ctx); err != nil {
		return nil, err
	}
	byHand := windowcount.Of(l.windowLog, aggregates, partitionCount, maxAhead.Milliseconds())
	c := &WindowsCount{Windows: len(byHand.Windows), Late: len(byHand.Late), LateBySender: l.lateBySender(), Examples: []string{}}
	err := onClickHouse(l.clickHouse.Native(), func(conn driver.Conn) error {
		if err := awaitClosed(ctx, conn, len(byHand.Windows), len(byHand.Late)); err != nil {
			return err
		}
		return errors.Join(c.compareFinals(ctx, conn, byHand), c.compareLate(ctx, conn, byHand), c.compareRest(ctx, conn))
	})
	if err != nil {
		return nil, err
	}
	c.Twice += int(l.merged.windows + l.merged.late + l.merged.ticks)
	left, err := last(ctx, l.kafka.addr(), windowsGroup+"-table")
	c.Keys = len(left)
	return c, err
}

// lateBySender counts what is late among the uploads themselves, which come in order.
func (l *lab) lateBySender() int {
	var uploads []windowcount.Record
	for _, r := range l.windowLog {
		if !r.Tick {
			uploads = append(uploads, r)
		}
	}
	return len(windowcount.Of(uploads, aggregates, partitionCount, maxAhead.Milliseconds()).Late)
}

// names lists the aggregates that are counted by hand, for SQL.
func names() string {
	list := make([]string, 0, len(aggregates))
	for _, a := range aggregates {
		list = append(list, "'"+a.Name()+"'")
	}
	return "(" + strings.Join(list, ", ") + ")"
}

// awaitClosed waits, for a while, until there are so many final results and late
// uploads, and nothing is open; what then is missing, the comparison tells.
func awaitClosed(ctx context.Context, conn driver.Conn, windows, lates int) error {
	deadline := time.Now().Add(closingPatience)
	for {
		var final, open, late uint64
		query := "SELECT countIf(final AND aggregate IN " + names() + "), countIf(NOT final), (SELECT count() FROM late_uploads WHERE cause = 'late' AND aggregate IN " + names() + ") FROM windows_latest"
		if err := conn.QueryRow(ctx, query).Scan(&final, &open, &late); err != nil {
			return fmt.Errorf("chaos: %s: %w", query, err)
		}
		if final >= uint64(windows) && late >= uint64(lates) && open == 0 || time.Now().After(deadline) {
			return nil
		}
		wait(ctx, 500*time.Millisecond)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// compareFinals compares the final results.
func (c *WindowsCount) compareFinals(ctx context.Context, conn driver.Conn, byHand *windowcount.Count) error {
	seen := map[windowcount.Window]bool{}
	query := `SELECT aggregate, key, toUnixTimestamp64Milli(window_start), toUnixTimestamp64Milli(window_end), toInt64(count), toInt64(ifNull(uploaders, 0))
		FROM windows_latest WHERE final AND aggregate IN ` + names()
	err := each(ctx, conn, query, func(rows driver.Rows) error {
		var w windowcount.Window
		var count, uploaders int64
		if err := rows.Scan(&w.Aggregate, &w.Key, &w.Start, &w.End, &count, &uploaders); err != nil {
			return err
		}
		seen[w] = true
		switch want, there := byHand.Windows[w]; {
		case !there:
			c.Invented++
			c.example("window %s is final with %d uploads, and there is none by hand", w, count)
		case want.Count != count || want.Uploaders != uploaders:
			c.Wrong++
			c.example("window %s has %d uploads of %d, by hand %d of %d", w, count, uploaders, want.Count, want.Uploaders)
		}
		return nil
	})
	for w, want := range byHand.Windows {
		if !seen[w] {
			c.Missing++
			c.example("window %s of %d uploads is not final", w, want.Count)
		}
	}
	return err
}

// compareLate compares the late uploads.
func (c *WindowsCount) compareLate(ctx context.Context, conn driver.Conn, byHand *windowcount.Count) error {
	seen := map[windowcount.Late]bool{}
	query := `SELECT src_topic_id, src_partition, src_offset, aggregate, key, toUnixTimestamp64Milli(window_start) FROM late_uploads WHERE cause = 'late' AND aggregate IN ` + names()
	err := each(ctx, conn, query, func(rows driver.Rows) error {
		var late windowcount.Late
		if err := rows.Scan(&late.Topic, &late.Partition, &late.Offset, &late.Aggregate, &late.Key, &late.Start); err != nil {
			return err
		}
		if seen[late] = true; !byHand.Late[late] {
			c.LateInvented++
			c.example("late_uploads has %+v, which is not late by hand", late)
		}
		return nil
	})
	for late := range byHand.Late {
		if !seen[late] {
			c.LateMissing++
			c.example("late_uploads has no row of %+v", late)
		}
	}
	return err
}

// compareRest counts what should not be there at all.
func (c *WindowsCount) compareRest(ctx context.Context, conn driver.Conn) error {
	for _, table := range []string{"windows", "late_uploads", "ticks"} {
		twice, err := twiceIn(ctx, conn, table)
		if err != nil {
			return err
		}
		c.Twice += int(twice)
	}
	err := each(ctx, conn, `SELECT aggregate, key, toString(window_start), cause, event_time, stream_time, src_topic_id, src_partition, src_offset FROM late_uploads WHERE cause != 'late'`,
		func(rows driver.Rows) error {
			var (
				aggregate, key, start, cause string
				eventTime, streamTime        time.Time
				at                           event.Position
			)
			if err := rows.Scan(&aggregate, &key, &start, &cause, &eventTime, &streamTime, &at.TopicID, &at.Partition, &at.Offset); err != nil {
				return err
			}
			c.LeftOut++
			c.example("the upload at %s, of %s in a stream at %s, is left out of %s key %q from %s: %s", at, eventTime, streamTime, aggregate, key, start, cause)
			return nil
		})
	if err != nil {
		return err
	}
	return each(ctx, conn, "SELECT aggregate, key, toString(window_start), count FROM windows_latest WHERE NOT final", func(rows driver.Rows) error {
		var (
			aggregate, key, start string
			count                 uint64
		)
		if err := rows.Scan(&aggregate, &key, &start, &count); err != nil {
			return err
		}
		c.Open++
		c.example("window %s key %q from %s of %d uploads is open", aggregate, key, start, count)
		return nil
	})
}

// each calls f with each row of a query.
func each(ctx context.Context, conn driver.Conn, query string, f func(driver.Rows) error) error {
	rows, err := conn.Query(ctx, query)
	if err != nil {
		return fmt.Errorf("chaos: %s: %w", query, err)
	}
	for rows.Next() {
		if err := f(rows); err != nil {
			return errors.Join(fmt.Errorf("chaos: %s: %w", query, err), rows.Close())
		}
	}
	return errors.Join(rows.Err(), rows.Close())
}

// addLastTicks adds to the log of the topics that are gone the ticks that came when it
// had been read, as far as they have rows: the topics do not tell of them any more.
func (l *lab) addLastTicks(ctx context.Context) error {
	ends := map[event.Position]int64{}
	for at := range l.gone {
		from := event.Position{TopicID: at.TopicID, Partition: at.Partition}
		ends[from] = max(ends[from], at.Offset)
	}
	return onClickHouse(l.clickHouse.Native(), func(conn driver.Conn) error {
		return each(ctx, conn, "SELECT src_topic_id, src_partition, src_offset FROM ticks", func(rows driver.Rows) error {
			var at event.Position
			if err := rows.Scan(&at.TopicID, &at.Partition, &at.Offset); err != nil {
				return err
			}
			if end, gone := ends[event.Position{TopicID: at.TopicID, Partition: at.Partition}]; gone && at.Offset > end {
				l.gone[at] = tickKey
			}
			return nil
		})
	})
}
