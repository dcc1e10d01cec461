SELECT s.parcel_id, s.scan_id, s.scanned_at, s.depot, d.city, d.opened, s.weight, s.serial, s.promised,
       CARDINALITY(s.route) AS stops, s.route, s.flags['fragile'] AS fragile, s.label
FROM scans AS s
LEFT JOIN LATERAL TABLE(depots_at(s.scanned_at, s.depot)) AS d ON TRUE
