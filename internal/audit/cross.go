package audit

import (
	"context"
	"fmt"
	"slices"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// at is the columns of a position.
const at = "src_topic_id, src_partition, src_offset"

// place is a position as text.
const place = "concat(toString(src_topic_id), '/', toString(src_partition), '/', toString(src_offset)) AS place"

// crossChecks compares the tables with each other. Irregular are the buckets in
// which uploads are there twice.
func crossChecks(ctx context.Context, q query, r *Report, irregular []bucket) error {
	if err := renditions(ctx, q, r, irregular); err != nil {
		return err
	}
	if err := sightings(ctx, q, r); err != nil {
		return err
	}
	return deadLetters(ctx, q, r)
}

// refused are the origins of rows that ClickHouse refused: they have a minimal
// row, and no renditions.
const refused = "(" + at + ") IN (SELECT " + at + " FROM dead_letters WHERE stage = 'load')"

// renditions compares originals with renditions: every name of a spec belongs
// to every original of the spec, once. Sums of hashes tell whether they differ
// at all, then where; only there single rows are compared.
func renditions(ctx context.Context, q query, r *Report, irregular []bucket) error {
	const what = "compare originals with renditions"
	same := true
	err := q.rows(ctx, what, compareRenditions(q, "1", "1"), func(driver.Rows) error {
		same = false
		return nil
	})
	if err != nil || (same && len(irregular) == 0) {
		return err // What is there once in uploads is there once in renditions.
	}
	differ := slices.Clone(irregular)
	if !same {
		by := fmt.Sprintf("src_topic_id, src_partition, intDiv(src_offset, %d)", bucketSize)
		err := q.rows(ctx, what, compareRenditions(q, "DISTINCT g.1, g.2, g.3", by), func(rows driver.Rows) error {
			var b bucket
			err := rows.Scan(&b.topic, &b.partition, &b.number)
			differ = append(differ, b)
			return err
		})
		if err != nil {
			return err
		}
	}
	where := q.scope + " AND " + within(differ)
	err = q.differences(ctx, r, Twice, "renditions", `SELECT `+place+`, concat(toString(count()), ' rows of rendition ', sha256, ' ', name) AS detail
		FROM renditions WHERE `+where+` GROUP BY sha256, name, spec, `+at+` HAVING count() > 1`)
	if err != nil {
		return err
	}
	both := `SELECT ` + at + `, any(upload_id) AS id, countIf(original) AS originals, uniqExactIf(name, NOT original) AS names, max(wanted) AS want FROM (
			SELECT ` + at + `, upload_id, true AS original, '' AS name, ifNull(spec, '') AS spec FROM uploads WHERE outcome = 'original' AND NOT ` + refused + ` AND ` + where + `
			UNION ALL
			SELECT ` + at + `, '' AS upload_id, false AS original, name, spec FROM renditions WHERE NOT ` + refused + ` AND ` + where + `
		) AS either LEFT JOIN (SELECT spec, uniqExact(name) AS wanted FROM renditions WHERE ` + q.scope + ` GROUP BY spec) AS names_of USING (spec) GROUP BY ` + at
	err = q.differences(ctx, r, NoRenditions, "renditions", `SELECT `+place+`, concat(toString(names), ' of ', toString(greatest(want, 1)), ' renditions of upload ', id) AS detail
		FROM (`+both+`) WHERE originals > 0 AND names < greatest(want, 1)`)
	if err != nil {
		return err
	}
	return q.differences(ctx, r, NoOriginal, "uploads", `SELECT `+place+`, concat(toString(names), ' renditions') AS detail FROM (`+both+`) WHERE originals = 0`)
}

// compareRenditions selects from the groups g of rows, by columns of the
// position, in which originals and renditions differ.
func compareRenditions(q query, what, by string) string {
	sums := ", toInt64(count()) AS n, sum(toInt64(cityHash64(" + at + "))) AS h"
	return `SELECT ` + what + ` FROM (
			SELECT tuple(` + by + `) AS g, spec, name` + sums + ` FROM renditions WHERE NOT ` + refused + ` AND ` + q.scope + ` GROUP BY g, spec, name
			UNION ALL
			SELECT g, spec, names_of.name AS name, -n AS n, -h AS h FROM (
				SELECT tuple(` + by + `) AS g, ifNull(spec, '') AS spec` + sums + ` FROM uploads WHERE outcome = 'original' AND NOT ` + refused + ` AND ` + q.scope + ` GROUP BY g, spec
			) AS wanted LEFT JOIN (SELECT spec, name FROM renditions WHERE ` + q.scope + ` GROUP BY spec, name) AS names_of USING (spec)
		) GROUP BY g, spec, name HAVING sum(n) != 0 OR sum(h) != 0` + settings
}

// sightings checks that content, under one spec, has one original, and that
// every duplicate in scope names it. Originals are looked for in the whole table,
// since one may be older than the scope.
func sightings(ctx context.Context, q query, r *Report) error {
	// Ids are compared by their hashes, which keeps the groups small.
	const content, id, of = "cityHash64(assumeNotNull(sha256), ifNull(spec, ''))", "cityHash64(upload_id)", "cityHash64(ifNull(duplicate_of, ''))"
	duplicate := "outcome = 'duplicate' AND " + q.scope
	blank := duplicate + " AND sha256 IS NULL AND NOT " + refused
	differ := `SELECT content FROM (
			SELECT ` + content + ` AS content, countIf(outcome = 'original') AS originals, anyIf(` + id + `, outcome = 'original') AS original,
				countIf(` + duplicate + `) AS duplicates, minIf(` + of + `, ` + duplicate + `) AS least, maxIf(` + of + `, ` + duplicate + `) AS most
			FROM uploads WHERE outcome IN ('original', 'duplicate') AND sha256 IS NOT NULL GROUP BY content
			HAVING originals > 1 OR (duplicates > 0 AND (originals = 0 OR least != original OR most != original)))`
	differs := false
	err := q.rows(ctx, "compare duplicates with originals", "SELECT 1 FROM (SELECT 1 FROM ("+differ+") LIMIT 1 UNION ALL SELECT 1 FROM uploads WHERE "+blank+" LIMIT 1)"+settings, func(driver.Rows) error {
		differs = true
		return nil
	})
	if err != nil || !differs {
		return err
	}
	original := "outcome = 'original' AND sha256 IS NOT NULL AND " + content + " IN (" + differ + ")"
	err = q.differences(ctx, r, TwoOriginals, "uploads", `SELECT '' AS place, concat(toString(uniqExact(`+at+`)), ' originals of content ', ifNull(any(sha256), ''), ', such as uploads ', arrayStringConcat(arraySort(groupUniqArray(3)(upload_id)), ' and ')) AS detail
		FROM uploads WHERE `+original+` GROUP BY `+content+` HAVING uniqExact(`+at+`) > 1 AND countIf(`+q.scope+`) > 0`)
	if err != nil {
		return err
	}
	// The row of an original that ClickHouse refused has no content.
	return q.differences(ctx, r, NoSuchOriginal, "uploads", `SELECT `+place+`, concat('upload ', upload_id, ' is a duplicate of ', ifNull(duplicate_of, 'nothing')) AS detail
		FROM uploads WHERE (`+blank+`) OR (`+duplicate+` AND sha256 IS NOT NULL AND `+content+` IN (`+differ+`) AND (`+content+`, `+of+`) NOT IN (
			SELECT `+content+`, `+id+` FROM uploads WHERE `+original+`
		) AND `+of+` NOT IN (SELECT `+id+` FROM uploads WHERE outcome = 'original' AND sha256 IS NULL))`)
}

// deadLetters looks for dead letters that are there twice, and compares them
// with dead uploads.
//
// Two stages tell of no death. What stage load tells of was refused: an upload keeps
// its outcome, and a tick, a result of a window or a late upload has none, and an
// origin that is no upload's. Stage windows tells of an upload that a window does not
// count, which changes no outcome; of several windows it tells several times, in
// records of their own.
func deadLetters(ctx context.Context, q query, r *Report) error {
	err := q.differences(ctx, r, Twice, "dead_letters", `SELECT `+place+`, concat(toString(count()), ' rows of stage ', stage) AS detail
		FROM dead_letters WHERE `+q.scope+` GROUP BY `+at+`, stage, if(stage = 'windows', concat(toString(load_topic_id), '/', toString(load_partition), '/', toString(load_offset)), '') HAVING count() > 1`)
	if err != nil {
		return err
	}
	both := `SELECT ` + at + `, max(dead) AS dies, max(letter AND stage != 'windows') AS has, max(letter AND stage NOT IN ('load', 'windows')) AS tells, any(what) AS some FROM (
			SELECT ` + at + `, true AS dead, false AS letter, '' AS stage, concat('upload ', upload_id) AS what FROM uploads WHERE outcome = 'dead' AND ` + q.scope + `
			UNION ALL
			SELECT ` + at + `, false AS dead, true AS letter, stage, concat('stage ', stage, ', reason ', reason) AS what FROM dead_letters WHERE ` + q.scope + `
		) GROUP BY ` + at
	err = q.differences(ctx, r, NoDeadLetter, "dead_letters", `SELECT `+place+`, some AS detail FROM (`+both+`) WHERE dies AND NOT has`)
	if err != nil {
		return err
	}
	return q.differences(ctx, r, NoDead, "uploads", `SELECT `+place+`, some AS detail FROM (`+both+`) WHERE tells AND NOT dies`)
}
