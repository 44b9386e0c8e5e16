package relay

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/seed31b3bfd0/slimgo/router/netloop"
	"github.com/seed31b3bfd0/slimgo/router/transport"
)

const readBuffer = 128 << 10 // bytes, as the node's

// Serve relays on l, a TCP listener, until ctx ends. It closes l and all sockets.
func Serve(ctx context.Context, l net.Listener) error {
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return fmt.Errorf("relay: listener %T: want one of TCP", l)
	}
	ln, err := netloop.ListenOn(tcp)
	if err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	defer ln.Close()
	r := &relay{topics: map[string]*topic{}}
	e, err := netloop.Start(netloop.Options{Loops: 1, ReadBuffer: readBuffer}, func(n *netloop.Loop) netloop.Owner {
		r.net, r.group = n, transport.NewGroup(n, transport.Options{}, r)
		return r
	})
	if err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	var accepting sync.WaitGroup
	accepting.Go(func() {
		e.Accept(ln, netloop.Acceptance{Handler: func(*netloop.Loop) netloop.Handler { return r.group.AcceptGRPC() }})
	})
	<-ctx.Done()
	ln.Close()
	accepting.Wait()
	e.Stop()
	return nil
}

// relay owns the one loop, to which everything in it belongs.
type relay struct {
	net    *netloop.Loop
	group  *transport.Group
	topics map[string]*topic
	free   []*parcel // not in use

	whole, part transport.Message // scratch of pass and pump
}

// topic connects the feeds of one name with those who joined.
type topic struct {
	name   string
	joined []*stream
	feeds  int
	turn   int
}

func (r *relay) topic(name string) *topic {
	t := r.topics[name]
	if t == nil {
		t = &topic{name: name}
		r.topics[name] = t
	}
	return t
}

// Turn implements netloop.Owner: nobody leaves anything for the loop.
func (r *relay) Turn() {}

// Batch implements netloop.Owner.
func (r *relay) Batch() { r.group.Flush() }

// Tick implements netloop.Owner.
func (r *relay) Tick(now time.Time) {
	r.net.Stock().Tick()
	r.group.Tick(now)
}

// Panicked implements netloop.Owner: the figures of a relay with a fault are worth nothing.
func (r *relay) Panicked(_ *netloop.Socket, value any, stack []byte) {
	panic(fmt.Sprintf("%v\n%s", value, stack))
}

// Accept implements transport.Acceptor.
func (r *relay) Accept(c transport.Stream) transport.Receiver {
	c.Established() // nobody is a stranger: there is nothing to negotiate
	s := &stream{relay: r, Stream: c}
	if words := strings.Fields(c.Peer().Agent); len(words) == 3 {
		s.begin(words[1], words[2])
	}
	return s
}

// Refused, Late, Ended and Idle implement transport.Acceptor: the clients, which measure, see it themselves.
func (r *relay) Refused(*transport.Peer, transport.Fault, error, ...any) {}
func (r *relay) Late(int)                                                {}
func (r *relay) Ended(*transport.Peer, error)                            {}
func (r *relay) Idle()                                                   {}
