package result

import "time"

// Sample is what was seen in one stretch of a measurement, a second or less.
type Sample struct {
	At        float64 `json:"at_s"`     // end of the stretch, seconds since traffic began
	Seconds   float64 `json:"length_s"` // its length
	Phase     string  `json:"phase"`    // "measured" or the scenario's own word; "warm-up" is all that no phase holds as a whole
	Delivered float64 `json:"delivered_per_s"`
	Bytes     float64 `json:"bytes_per_s"`
	Lost      uint64  `json:"missing"` // numbers that others have overtaken, at the end of the stretch
	P50       float64 `json:"p50_ns"`  // of messages that arrived in the stretch; 0: none did
	P99       float64 `json:"p99_ns"`
	Max       float64 `json:"max_ns"`
	NodeCPU   float64 `json:"node_cores"`
	ClientCPU float64 `json:"client_cores"`
	RSS       int64   `json:"rss_bytes"` // of the node; 0: not measured
	Files     int     `json:"files"`
	Threads   int     `json:"threads"`
}

// Point is one point of a percentile curve.
type Point struct {
	Percentile float64 `json:"percentile"`
	Value      float64 `json:"value_ns"`
}

// Round is the course of one measurement.
type Round struct {
	Number  int       `json:"round"`    // from 1
	Turn    int       `json:"position"` // of the node in the order of the round, from 0
	Begun   time.Time `json:"begun"`
	Samples []Sample  `json:"samples,omitempty"`
	Curve   []Point   `json:"curve,omitempty"`
	Notes   []string  `json:"notes,omitempty"` // what else there is to say
}
