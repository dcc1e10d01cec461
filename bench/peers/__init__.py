"""Other engines at the same work: hourly_departures from the topic flights, checked against the same oracle."""
