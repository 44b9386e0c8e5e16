package faults

import (
	"slices"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/uplink"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// take takes a message of a client, whose MAC was right.
func (p *Proxy) take(from *end, msg []byte, m *wire.Message, h *wire.Header) {
	if m.Kind == wire.KindPublish && p.Pause != nil {
		p.Pause()
	}
	switch {
	case m.Kind != wire.KindPublish && p.Refuse != "":
		from.send(wire.AppendAck(nil, m.SubID, false, p.Refuse), false)
	case m.Kind == wire.KindPublish && p.Node == "":
		for _, to := range p.match(h) {
			p.deliver(to, msg)
		}
	default:
		p.hold(from, h.Dest.Name, m.Kind)
		if p.Node == "" {
			from.send(wire.AppendAck(nil, m.SubID, true, ""), false)
		} else {
			from.pass(msg)
		}
	}
}

// hold notes which names a client has.
func (p *Proxy) hold(e *end, name wire.Name, k wire.Kind) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch k {
	case wire.KindSubscribe:
		p.names[name] = append(p.names[name], e)
	case wire.KindUnsubscribe:
		delete(p.names, name)
	}
}

// match returns who gets a publish.
func (p *Proxy) match(h *wire.Header) []*end {
	n := p.forwarded.Add(1) - 1
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.names[h.Dest.Name]
	switch {
	case h.Fanout != 1 || len(all) < 2:
		return slices.Clone(all)
	case p.Rotate:
		return []*end{all[n%uint64(len(all))]}
	}
	return []*end{all[0]}
}

// deliver sends a publish to a client, or does to it what its fate is. One goroutine at a time for each sender, or for
// each client of a real node.
func (p *Proxy) deliver(to *end, msg []byte) {
	if p.silent.Load() {
		return
	}
	n := p.passed.Add(1) - 1
	f := Deliver
	if p.Fate != nil {
		f = p.Fate(n)
	}
	if f != Swap {
		p.done[f].Add(1)
	}
	switch f {
	case Drop:
		return
	case Swap:
		to.keep(msg)
		return
	case Twice:
		to.send(msg, false)
	case Late:
		time.Sleep(p.Delay)
	case Change:
		msg = slices.Clone(msg)
		msg[len(msg)-1-int(n%64)] ^= 0x55
	case Astray:
		if to = p.other(to); to == nil {
			return
		}
	}
	to.send(msg, f == Unsigned)
	for _, late := range to.kept() {
		p.done[Swap].Add(1)
		to.send(late, false)
	}
}

// other returns a client with names that is not e.
func (p *Proxy) other(e *end) *end {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, all := range p.names {
		for _, o := range all {
			if o != e {
				return o
			}
		}
	}
	return nil
}

// keep has msg go out behind the next message.
func (e *end) keep(msg []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.late = append(e.late, slices.Clone(msg))
}

func (e *end) kept() [][]byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	late := e.late
	e.late = nil
	return late
}

// connect opens the client's connection to the node. The reader's.
func (e *end) connect() (err error) {
	p := e.proxy
	e.up, err = uplink.Dial(e.ctx, p.Node, &uplink.Options{NodeID: "fault-proxy", UserAgent: "slim-bench/1",
		Handle: func(msgs [][]byte) {
			for _, msg := range msgs {
				p.deliver(e, msg)
			}
		},
		Answer: func(id uint64, ok bool, reason string) { e.send(wire.AppendAck(nil, id, ok, reason), false) },
	})
	return err
}

// pass sends a message to the node, signed for the link to it.
func (e *end) pass(msg []byte) {
	if err := e.up.Send(e.ctx, msg); err != nil {
		_ = e.nc.Close() // as a node does that loses its peer
	}
}
