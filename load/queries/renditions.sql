-- Renditions by name and spec
SELECT
    name,
    spec,
    count() AS renditions,
    sum(bytes) AS bytes_sum,
    round(avg(bytes)) AS bytes_avg,
    max(width) AS width_max,
    max(height) AS height_max
FROM renditions
GROUP BY name, spec
ORDER BY renditions DESC, name, spec
