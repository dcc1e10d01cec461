SELECT trip, lift, left_at, storeys, kilos FROM trips
