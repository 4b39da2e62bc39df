package audit

import (
	"context"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// at is the columns of a position.
const at = "src_topic_id, src_partition, src_offset"

// inOrder has the server aggregate as the sorting key comes, and spill what does
// not fit.
const inOrder = " SETTINGS optimize_aggregation_in_order = 1, max_bytes_before_external_group_by = 2000000000"

// crossChecks compares the tables with each other.
func crossChecks(ctx context.Context, q query, r *Report) error {
	for _, check := range []func(context.Context, query, *Report) error{twice, renditions, firstSightings, deadLetters, rollups} {
		if err := check(ctx, q, r); err != nil {
			return err
		}
	}
	return nil
}

// differences adds what a statement finds: position and detail of the first
// ones, and how many there are in all.
func differences(ctx context.Context, q query, r *Report, kind Kind, table, statement string) error {
	return q.rows(ctx, "look for "+string(kind)+" in "+table, fmt.Sprintf("SELECT place, detail, count() OVER () FROM (%s) LIMIT %d%s", statement, maxExamples, inOrder),
		func(rows driver.Rows) error {
			var (
				found, detail string
				n             uint64
			)
			if err := rows.Scan(&found, &detail, &n); err != nil {
				return err
			}
			r.add(Difference{Kind: kind, Table: table, Position: found, Detail: detail})
			r.Differences[kind] = max(r.Differences[kind], n)
			return nil
		})
}

// place is a position as text.
const place = "concat(toString(src_topic_id), '/', toString(src_partition), '/', toString(src_offset)) AS place"

// twice looks for dead letters that are there twice. Those of uploads are found
// with its gaps, those of renditions where they differ from the originals.
func twice(ctx context.Context, q query, r *Report) error {
	return differences(ctx, q, r, Twice, "dead_letters", `SELECT `+place+`, concat(toString(count()), ' rows of stage ', stage) AS detail
		FROM dead_letters WHERE `+q.scope+` GROUP BY `+at+`, stage HAVING count() > 1`)
}

// refused are the originals whose rows ClickHouse refused: they have a minimal
// row, and no renditions.
const refused = "(" + at + ") IN (SELECT " + at + " FROM dead_letters WHERE stage = 'load')"

// renditions compares originals with renditions: every name of a spec belongs to
// every original of the spec. Sums of hashes tell whether they differ at all.
func renditions(ctx context.Context, q query, r *Report) error {
	hash := "sum(cityHash64(" + at + "))"
	differ := false
	err := q.rows(ctx, "compare originals with renditions", `SELECT count() FROM (
			SELECT spec, name, count() AS n, `+hash+` AS h FROM renditions WHERE `+q.scope+` GROUP BY spec, name
		) AS made FULL JOIN (
			SELECT assumeNotNull(spec) AS spec, count() AS n, `+hash+` AS h FROM uploads WHERE outcome = 'original' AND spec IS NOT NULL AND `+q.scope+` GROUP BY spec
		) AS wanted USING (spec) WHERE made.n != wanted.n OR made.h != wanted.h`, func(rows driver.Rows) error {
		var n uint64
		err := rows.Scan(&n)
		differ = n > 0
		return err
	})
	if err != nil || (!differ && r.Differences[Twice] == 0) {
		return err // What is there once in uploads is there once here.
	}
	err = differences(ctx, q, r, Twice, "renditions", `SELECT `+place+`, concat(toString(count()), ' rows of rendition ', sha256, ' ', name) AS detail
		FROM renditions WHERE `+q.scope+` GROUP BY sha256, name, spec, `+at+` HAVING count() > 1`)
	if err != nil {
		return err
	}
	both := `SELECT ` + at + `, any(upload_id) AS id, countIf(original) AS originals, uniqExactIf(name, NOT original) AS names, max(wanted) AS want FROM (
			SELECT ` + at + `, upload_id, true AS original, '' AS name, assumeNotNull(spec) AS spec FROM uploads WHERE outcome = 'original' AND NOT ` + refused + ` AND ` + q.scope + `
			UNION ALL
			SELECT ` + at + `, '' AS upload_id, false AS original, name, spec FROM renditions WHERE NOT ` + refused + ` AND ` + q.scope + `
		) AS either LEFT JOIN (SELECT spec, uniqExact(name) AS wanted FROM renditions WHERE ` + q.scope + ` GROUP BY spec) AS names_of USING (spec) GROUP BY ` + at
	err = differences(ctx, q, r, NoRenditions, "renditions", `SELECT `+place+`, concat(toString(names), ' of ', toString(greatest(want, 1)), ' renditions of upload ', id) AS detail
		FROM (`+both+`) WHERE originals > 0 AND names < greatest(want, 1)`)
	if err != nil {
		return err
	}
	return differences(ctx, q, r, NoOriginal, "uploads", `SELECT `+place+`, concat(toString(names), ' renditions') AS detail FROM (`+both+`) WHERE originals = 0`)
}

// firstSightings checks that content which was seen has one original. It needs
// the whole table: what came before may be the original.
func firstSightings(ctx context.Context, q query, r *Report) error {
	if r.Since != nil {
		return nil
	}
	return differences(ctx, q, r, FirstSightings, "uploads", `SELECT '' AS place, concat(toString(originals), ' originals and ', toString(duplicates), ' duplicates of content ', some) AS detail
		FROM (SELECT any(sha256) AS some, countIf(outcome = 'original') AS originals, countIf(outcome = 'duplicate') AS duplicates
			FROM uploads WHERE outcome IN ('original', 'duplicate') AND sha256 IS NOT NULL GROUP BY cityHash64(sha256, spec) HAVING originals != 1)`)
}

// deadLetters compares dead uploads with dead letters.
func deadLetters(ctx context.Context, q query, r *Report) error {
	err := differences(ctx, q, r, NoDeadLetter, "dead_letters", `SELECT `+place+`, concat('upload ', upload_id) AS detail FROM uploads
		WHERE outcome = 'dead' AND `+q.scope+` AND (`+at+`) NOT IN (SELECT `+at+` FROM dead_letters WHERE `+q.scope+`)`)
	if err != nil {
		return err
	}
	// The loader's own are about rows that were refused, whatever their outcome.
	return differences(ctx, q, r, NoDead, "uploads", `SELECT `+place+`, concat('stage ', stage, ', reason ', reason) AS detail FROM dead_letters
		WHERE stage != 'load' AND `+q.scope+` AND (`+at+`) NOT IN (SELECT `+at+` FROM uploads WHERE outcome = 'dead' AND `+q.scope+`)`)
}

// rollupTries is how often a rollup is compared: rows that are inserted between
// its two sums make them differ.
const rollupTries = 5

// rollups compares the projections with what the rows themselves add up to.
func rollups(ctx context.Context, q query, r *Report) error {
	for table, by := range map[string]string{"uploads": "outcome", "renditions": "name"} {
		type sum struct{ groups, hash uint64 }
		sums := func(settings string) (s sum, err error) {
			statement := `SELECT count(), sum(cityHash64(ifNull(toString(m), ''), toString(b), c, toUInt64(ifNull(s, 0)))) FROM (
				SELECT toStartOfMinute(event_time) AS m, ` + by + ` AS b, count() AS c, sum(bytes) AS s FROM ` + table + ` GROUP BY m, b) SETTINGS ` + settings
			err = q.rows(ctx, "sum up "+table, statement, func(rows driver.Rows) error { return rows.Scan(&s.groups, &s.hash) })
			return s, err
		}
		var rows, projected sum
		for try := 0; try == 0 || (try < rollupTries && rows != projected); try++ {
			var err error
			if rows, err = sums("optimize_use_projections = 0"); err != nil {
				return err
			}
			if projected, err = sums("optimize_use_projections = 1, preferred_optimize_projection_name = 'by_minute'"); err != nil {
				return err
			}
		}
		if rows != projected {
			r.add(Difference{Kind: Rollup, Table: table, Detail: fmt.Sprintf("%d groups in the projection by_minute, %d in the rows, or other sums", projected.groups, rows.groups)})
		}
	}
	return nil
}
