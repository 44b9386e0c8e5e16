package bench

import (
	"context"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/result"
)

const (
	warmUp   = "warm-up"
	measured = "measured"
)

// sampleEvery is the length of a stretch: a second, shorter where the measurement is short.
func sampleEvery(p result.Params) time.Duration {
	return min(time.Second, max(100*time.Millisecond, p.Duration/20))
}

// sampler runs beside the traffic until ctx ends. It owns nothing that others touch but the rig's samples, which are
// read when it has ended.
func (t *traffic) sampler(ctx context.Context) {
	ticker := time.NewTicker(sampleEvery(t.p))
	defer ticker.Stop()
	last := t.begun
	for {
		select {
		case <-ticker.C:
			last = t.sample(last)
		case <-ctx.Done():
			if load.Now()-last.at > int64(sampleEvery(t.p)/4) {
				t.sample(last)
			}
			return
		}
	}
}

// sample appends what happened since the mark last and returns a new mark.
func (t *traffic) sample(last mark) mark {
	now := t.mark()
	seconds := float64(now.at-last.at) / 1e9
	if seconds <= 0 {
		return last
	}
	delays := load.NewInterval()
	for _, r := range t.receivers {
		r.Take(delays)
	}
	s := result.Sample{
		At: float64(now.at-t.begun.at) / 1e9, Seconds: seconds, Phase: warmUp,
		Delivered: float64(now.delivered-last.delivered) / seconds,
		Bytes:     float64(now.bytes-last.bytes) / seconds,
		NodeCPU:   float64(now.node.CPU-last.node.CPU) / 1e9 / seconds,
		ClientCPU: float64(now.client.CPU-last.client.CPU) / 1e9 / seconds,
		RSS:       now.node.RSS, Files: now.node.Files, Threads: now.node.Threads,
	}
	if now.phase == last.phase {
		s.Phase = *now.phase
	}
	if delays.Count() > 0 {
		s.P50, s.P99, s.Max = float64(delays.Quantile(50)), float64(delays.Quantile(99)), float64(delays.Max())
	}
	for _, f := range t.flows {
		if !f.slow {
			s.Lost += f.missing()
		}
	}
	t.rig.sampled(s)
	return now
}

// curvePercentiles are the points of a percentile curve: evenly spread on the axis 1/(1-p).
var curvePercentiles = []float64{0, 10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 92.5, 95, 96, 97, 98, 99, 99.25, 99.5, 99.75,
	99.9, 99.95, 99.975, 99.99, 99.995, 99.999, 100}

// curve reads the percentile curve of l, as far as its count carries.
func curve(l *load.Latency) []result.Point {
	n := float64(l.Count())
	if n == 0 {
		return nil
	}
	var points []result.Point
	for _, p := range curvePercentiles {
		if p < 100 && p > 50 && n*(100-p)/100 < 1 {
			continue // fewer messages than would make this percentile different from the maximum
		}
		points = append(points, result.Point{Percentile: p, Value: float64(l.Quantile(p))})
	}
	return points
}
