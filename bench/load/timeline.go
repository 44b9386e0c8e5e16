package load

import (
	"context"
	"time"
)

// Phases of samples that no scenario has another word for.
const (
	WarmUp   = "warm-up"
	Measured = "measured"
)

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

// sampleEvery is the length of a stretch: a second, shorter where the measurement is short.
func sampleEvery(length time.Duration) time.Duration {
	return min(time.Second, max(100*time.Millisecond, length/20))
}

// sampler runs beside the traffic until ctx ends. It owns nothing that others touch but the rig's samples, which are
// read when it has ended.
func (t *Traffic) sampler(ctx context.Context) {
	ticker := time.NewTicker(sampleEvery(t.Duration))
	defer ticker.Stop()
	last := t.begun
	for {
		select {
		case <-ticker.C:
			last = t.sample(last)
		case <-ctx.Done():
			if Now()-last.At > int64(sampleEvery(t.Duration)/4) {
				t.sample(last)
			}
			return
		}
	}
}

// sample appends what happened since the mark last and returns a new mark.
func (t *Traffic) sample(last Mark) Mark {
	now := t.mark()
	seconds := float64(now.At-last.At) / 1e9
	if seconds <= 0 {
		return last
	}
	delays := NewInterval()
	for _, r := range t.receivers {
		r.Take(delays)
	}
	s := Sample{
		At: float64(now.At-t.begun.At) / 1e9, Seconds: seconds, Phase: WarmUp,
		Delivered: float64(now.Delivered-last.Delivered) / seconds,
		Bytes:     float64(now.Bytes-last.Bytes) / seconds,
		NodeCPU:   float64(now.Node.CPU-last.Node.CPU) / 1e9 / seconds,
		ClientCPU: float64(now.Client.CPU-last.Client.CPU) / 1e9 / seconds,
		RSS:       now.Node.RSS, Files: now.Node.Files, Threads: now.Node.Threads,
	}
	if now.phase == last.phase {
		s.Phase = *now.phase
	}
	if delays.Count() > 0 {
		s.P50, s.P99, s.Max = float64(delays.Quantile(50)), float64(delays.Quantile(99)), float64(delays.Max())
	}
	for _, f := range t.flows {
		if !f.Slow {
			s.Lost += f.Seen.Seen().Missing
		}
	}
	t.Rig.Samples = append(t.Rig.Samples, s)
	if t.Rig.Progress != nil {
		t.Rig.Progress(s)
	}
	return now
}
