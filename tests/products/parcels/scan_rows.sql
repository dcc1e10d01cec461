SELECT parcel_id, scan_id, scanned_at, depot, weight, serial, promised, CARDINALITY(route) AS stops, route, flags['fragile'] AS fragile,
       label
FROM scans
