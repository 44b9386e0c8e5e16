package cli

import (
	"context"
	"log/slog"
)

// gate lets through what the filter shows for the target of its logger, unless the sink has no room: then nothing is
// formatted in vain. Immutable.
type gate struct {
	next   slog.Handler
	filter *Filter
	sink   *Sink      // nil: there is always room
	level  slog.Level // of the logger's target
}

// newGate makes a gate; a nil filter shows everything.
func newGate(next slog.Handler, f *Filter, s *Sink) *gate {
	if f == nil {
		f = &Filter{[]directive{{"", LevelTrace}}}
	}
	return &gate{next, f, s, f.level("slim")}
}

// Enabled admits what some target may show, because a record can bring its own; Handle decides.
func (g *gate) Enabled(_ context.Context, l slog.Level) bool {
	return l >= min(g.level, g.filter.lowest())
}

func (g *gate) Handle(ctx context.Context, r slog.Record) error {
	level := g.level
	if target := targetOf(&r); target != "" {
		level = g.filter.level(target)
	}
	if r.Level < level {
		return nil
	}
	if g.sink != nil && g.sink.full.Load() {
		g.sink.drop()
		return nil
	}
	return g.next.Handle(ctx, r)
}

// targetOf returns the target that a record brings itself, "" if none.
func targetOf(r *slog.Record) (target string) {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == KeyTarget {
			target = a.Value.String()
		}
		return target == ""
	})
	return target
}

func (g *gate) WithAttrs(attrs []slog.Attr) slog.Handler {
	n := *g
	for _, a := range attrs {
		if a.Key == KeyTarget {
			n.level = g.filter.level(a.Value.String())
		}
	}
	n.next = g.next.WithAttrs(attrs)
	return &n
}

func (g *gate) WithGroup(name string) slog.Handler {
	n := *g
	n.next = g.next.WithGroup(name)
	return &n
}
