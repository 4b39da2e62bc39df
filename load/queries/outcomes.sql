-- Outcomes, and the reasons of the dead
SELECT
    u.outcome AS outcome,
    if(u.outcome = 'dead', d.stage, '') AS stage,
    if(u.outcome = 'dead', d.reason, '') AS reason,
    count() AS uploads
FROM uploads AS u
LEFT ANY JOIN
(
    SELECT src_topic_id, src_partition, src_offset, stage, reason
    FROM dead_letters
    WHERE stage NOT IN ('load', 'windows')
) AS d USING (src_topic_id, src_partition, src_offset)
GROUP BY outcome, stage, reason
ORDER BY outcome, uploads DESC, stage, reason
