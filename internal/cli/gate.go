package cli

import (
	"context"
	"log/slog"
	"sync/atomic"
)

// gate lets through what the filter shows for the target of its logger, unless the sink has no room: then nothing is
// formatted in vain. Immutable but for the filter and what is remembered of it.
type gate struct {
	next   slog.Handler
	filter *Filter
	sink   *Sink                 // nil: there is always room
	target string                // of its logger
	known  atomic.Pointer[shown] // of the filter that held at the last look; never nil
}

// shown is what a gate needs of a filter at one time. Immutable.
type shown struct {
	of            *directives
	level, lowest slog.Level // of the logger's target, of any
}

// newGate makes a gate; a nil filter shows everything.
func newGate(next slog.Handler, f *Filter, s *Sink) *gate {
	if f == nil {
		f = &Filter{}
		f.now.Store(&directives{{"", LevelTrace}})
	}
	return makeGate(next, f, s, "slim")
}

func makeGate(next slog.Handler, f *Filter, s *Sink, target string) *gate {
	g := &gate{next: next, filter: f, sink: s, target: target}
	g.look()
	return g
}

// look returns what is shown now.
func (g *gate) look() *shown {
	d := g.filter.current()
	if k := g.known.Load(); k != nil && k.of == d {
		return k
	}
	k := &shown{d, d.level(g.target), d.lowest()}
	g.known.Store(k)
	return k
}

// Enabled admits what some target may show, because a record can bring its own; Handle decides.
func (g *gate) Enabled(_ context.Context, l slog.Level) bool {
	k := g.look()
	return l >= min(k.level, k.lowest)
}

func (g *gate) Handle(ctx context.Context, r slog.Record) error {
	k := g.look()
	level := k.level
	if target := targetOf(&r); target != "" {
		level = k.of.level(target)
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
	target := g.target
	for _, a := range attrs {
		if a.Key == KeyTarget {
			target = a.Value.String()
		}
	}
	return makeGate(g.next.WithAttrs(attrs), g.filter, g.sink, target)
}

func (g *gate) WithGroup(name string) slog.Handler {
	return makeGate(g.next.WithGroup(name), g.filter, g.sink, g.target)
}
