package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/panjf2000/gnet/v2"
	"github.com/panjf2000/gnet/v2/pkg/logging"
	"golang.org/x/sys/unix"

	"github.com/seed31b3bfd0/slimgo/bench/client"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
)

const (
	readBuffer = 128 << 10
	window     = 1 << 20  // of a stream, as the node's
	connWindow = 16 << 20 // of a socket, as the node's
	maxMessage = 4<<20 + 64<<10
	lookEvery  = 2 * time.Millisecond // at sockets that the kernel could not write
)

// Serve relays on l until ctx ends. It closes l and all sockets.
func Serve(ctx context.Context, l net.Listener) error {
	r := &relay{live: map[*socket]struct{}{}, topics: map[string]*topic{}}
	cli, err := gnet.NewClient(r, gnet.WithNumEventLoop(1), gnet.WithReadBufferCap(readBuffer), gnet.WithTCPNoDelay(gnet.TCPNoDelay),
		gnet.WithLogger(quiet{}))
	if err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	if err := cli.Start(); err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	if err := r.openWake(cli); err != nil {
		return errors.Join(fmt.Errorf("relay: %w", err), cli.Stop())
	}
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := cli.EnrollContext(c, &socket{relay: r}); err != nil {
				_ = c.Close()
			}
		}
	})
	<-ctx.Done()
	err = l.Close()
	accepting.Wait()
	err = errors.Join(err, cli.Stop())
	r.look.Stop()
	return errors.Join(err, r.wake.Close())
}

// openWake makes the socket pair whose one end is a connection of the loop: a byte from the other end has it look at
// blocked sockets. gnet never says that a socket became writable.
func (r *relay) openWake(cli *gnet.Client) error {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	r.wake = os.NewFile(uintptr(fds[1]), "wake")
	f := os.NewFile(uintptr(fds[0]), "wake")
	defer f.Close()
	r.look = time.AfterFunc(time.Hour, func() { _, _ = r.wake.Write([]byte{1}) })
	r.look.Stop()
	c, err := net.FileConn(f)
	if err == nil {
		_, err = cli.EnrollContext(c, nil)
	}
	return err
}

// quiet drops gnet's log.
type quiet struct{ logging.Logger }

func (quiet) Debugf(string, ...any) {}
func (quiet) Infof(string, ...any)  {}
func (quiet) Warnf(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(string, ...any) {}

// relay is the event handler of the one loop; everything in it belongs to that loop.
type relay struct {
	gnet.BuiltinEventEngine

	live    map[*socket]struct{}
	topics  map[string]*topic
	dirty   []*socket // with output of this batch
	blocked []*socket // gnet holds output that the kernel did not take
	free    []*parcel // not in use
	looking bool      // look is set

	wake *os.File    // its bytes run wakeUp on the loop
	look *time.Timer // writes one
}

// topic connects the feeds of one name with those who joined.
type topic struct {
	joined []*stream
	turn   int
}

// OnOpen implements gnet.EventHandler.
func (r *relay) OnOpen(gc gnet.Conn) ([]byte, gnet.Action) {
	k, ok := gc.Context().(*socket)
	if !ok {
		return nil, gnet.None
	}
	k.gc, k.fd = gc, gc.Fd()
	k.h2.Init(h2.Server, &h2.Settings{InitialWindow: window, ConnWindow: connWindow, MaxMessage: maxMessage, MaxStreams: 1 << 10})
	r.live[k] = struct{}{}
	k.mark()
	r.endBatch()
	return nil, gnet.None
}

// OnTraffic implements gnet.EventHandler.
func (r *relay) OnTraffic(gc gnet.Conn) gnet.Action {
	p, _ := gc.Next(-1)
	k, ok := gc.Context().(*socket)
	if !ok {
		r.looking = false
		r.unblock()
		r.endBatch()
		return gnet.None
	}
	err := k.h2.Feed(p, k)
	if len(k.h2.Control()) > 0 {
		k.mark()
	}
	r.endBatch()
	if err != nil || k.broken {
		return gnet.Close
	}
	return gnet.None
}

// OnClose implements gnet.EventHandler.
func (r *relay) OnClose(gc gnet.Conn, _ error) gnet.Action {
	k, ok := gc.Context().(*socket)
	if !ok || k.gone {
		return gnet.None
	}
	k.gone = true
	delete(r.live, k)
	k.h2.Close(k)
	k.drop()
	r.blocked = slices.DeleteFunc(r.blocked, func(o *socket) bool { return o == k })
	return gnet.None
}

// unblock lets those sockets go on whose output gnet has handed to the kernel.
func (r *relay) unblock() {
	r.blocked = slices.DeleteFunc(r.blocked, func(k *socket) bool {
		if k.gc.OutboundBuffered() > 0 {
			return false
		}
		k.blocked = false
		k.pump()
		k.mark()
		return true
	})
}

// endBatch writes what was staged.
func (r *relay) endBatch() {
	for len(r.dirty) > 0 {
		k := r.dirty[len(r.dirty)-1]
		r.dirty = r.dirty[:len(r.dirty)-1]
		k.dirty = false
		k.flush()
	}
	if len(r.blocked) > 0 && !r.looking {
		r.looking = true
		r.look.Reset(lookEvery)
	}
}

// enter has a stream take part: as a feed or as one that joined.
func (r *relay) enter(s *stream, req *h2.Request) error {
	name, joins := req.Field(client.JoinField)
	if !joins {
		var ok bool
		if name, ok = req.Field(client.FeedField); !ok {
			return fmt.Errorf("a relay's stream names %s or %s", client.JoinField, client.FeedField)
		}
	}
	t := r.topics[string(name)]
	if t == nil {
		t = new(topic)
		r.topics[string(name)] = t
	}
	s.topic = t
	if joins {
		t.joined = append(t.joined, s)
		return nil
	}
	all, _ := req.Field(client.AllField)
	s.feeds, s.all = true, string(all) == "1"
	return nil
}

func (r *relay) leave(s *stream) {
	if s.topic != nil && !s.feeds {
		s.topic.joined = slices.DeleteFunc(s.topic.joined, func(o *stream) bool { return o == s })
	}
}
