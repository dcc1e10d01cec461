SELECT lift, seen_at, kind FROM faults
