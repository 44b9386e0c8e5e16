package router

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/router/netloop"
	"github.com/seed31b3bfd0/slimgo/router/table"
)

// Node is a running data plane. Its methods are safe for all goroutines.
type Node struct {
	// Immutable after Start.
	opt                Options
	log                *slog.Logger
	made               time.Time
	loops              []*loop
	engine             *netloop.Engine
	names              *table.Table[Conn]
	budget             *table.Budget // of names
	claims             *claims
	queued, unfinished *pool.Quota // of memory
	peers              peering     // safe for all
	control            control     // safe for all

	peerLog peerLog

	stopping  atomic.Bool // Shutdown has begun
	draining  atomic.Bool
	panics    atomic.Uint64
	open      atomic.Int64 // connections whose memory is in use
	full      fullness
	shaken    shaken        // TLS handshakes that failed
	nextConn  atomic.Uint64 // last connection id given out; ids are never used again
	relief    relief        // of the first loop
	dialers   dialers       // of the links that the node opens
	chores    chores        // removals of connections with many subscriptions, news for new peers, rights of connections
	reviews   atomic.Uint64 // counts changes of Rules.Authorization
	reviewing sync.Mutex    // held by the review that goes on

	strangers sharedRefusals // who was turned away during a TLS handshake

	listening listeners
	changing  sync.Mutex // from Prepare to the end of the change
	rules     Rules      // guarded by changing
	settling  settling   // of forwardAll
	ending    context.Context
	end       context.CancelFunc // of ending, when Shutdown has begun

	stop sync.Once
	done chan struct{} // closed when Shutdown has finished
	err  error
}

// Start opens the listeners and loops of a node. When it returns, the node accepts and negotiates. An endpoint that
// cannot be listened on is a *ListenError.
// The context covers the start only; Shutdown stops the node.
func Start(ctx context.Context, o Options) (*Node, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	n := newNode(o)
	n.peers.ackDelay = peerAckDelay
	if err := n.startLoops(); err != nil {
		return nil, err
	}
	// Last: a dialer that finds a listener must find a node that can negotiate (P-end-1).
	c, err := n.Prepare(ctx, n.opt.setup())
	if err != nil {
		n.end()
		n.engine.Stop()
		return nil, err
	}
	n.logStart()
	c.Commit()
	return n, nil
}

// newNode makes a node of complete options, without loops and listeners.
func newNode(o Options) *Node {
	n := &Node{opt: o, log: o.Log, made: time.Now(), names: table.New[Conn](), done: make(chan struct{})}
	n.budget = &table.Budget{PerConn: o.MaxSubscriptions, Names: int64(o.MaxNames), Bytes: int64(o.MaxNameBytes)}
	n.claims = newClaims(&o)
	n.names.Limit(n.budget)
	n.queued, n.unfinished = pool.NewQuota(int64(o.MaxQueued)), pool.NewQuota(int64(o.MaxUnfinished))
	n.chores.failed = n.choreFailed
	n.peerLog.log = o.Log
	n.peerLog.look()
	n.rules = o.rules()
	n.listening.node = n
	n.ending, n.end = context.WithCancel(context.Background())
	return n
}

// choreFailed says that an invariant of the node's tables is broken; the node lives on without that piece of work.
func (n *Node) choreFailed(cause, stack string) {
	n.panics.Add(1)
	if n.peerLog.takes(slog.LevelError, topicPanic) {
		n.log.Error("internal error while bringing tables up to date: please report this", "target", targetProcessing,
			"error", cause, "stack", stack)
	}
}

// guarded runs a part of a tick that serves no socket: a panic ends that part alone.
func (n *Node) guarded(f func()) {
	defer func() {
		if r := recover(); r != nil {
			n.choreFailed(fmt.Sprint(r), string(debug.Stack()))
		}
	}()
	f()
}

// ListenError says which of Options.Listen could not be listened on.
type ListenError = netloop.ListenError

// Shutdown stops the node: the listeners first, so that dialers are refused and retry elsewhere or later;
// then GOAWAY, and what peers have sent until now goes its way; then the end of every stream behind what is queued for
// it; then the sockets. It returns nil when everything queued went out and was acknowledged by the peers' kernels, or
// was given up because a peer took nothing for some seconds; ctx.Err() when ctx ended before that. Later calls return
// the first one's result.
func (n *Node) Shutdown(ctx context.Context) error {
	n.stop.Do(func() {
		defer close(n.done)
		n.stopping.Store(true)
		n.listening.close()
		n.end()
		n.listening.leaving.Wait()
		n.dialers.stop()
		n.draining.Store(true)
		// Every loop announces the end, and has given receivers all that had come before that, when the first ends its
		// connections.
		n.err = n.onLoops(ctx, (*loop).drain)
		if n.err == nil {
			n.err = n.settle(ctx)
		}
		if n.err == nil {
			n.err = n.onLoops(ctx, (*loop).finishAll)
		}
		if n.err == nil {
			n.err = n.awaitDrained(ctx)
		}
		if n.err != nil && !n.connected() {
			n.err = nil // there was nothing to drain
		}
		n.engine.Stop()
		unprotect(n.listening.list())
		n.listening.guarding.Wait()
		for _, l := range n.loops {
			l.group.Cut()
		}
		n.chores.stop()
		n.peerLog.limit.settle(n.log)
		for _, l := range n.loops { // they have ended
			l.show()
		}
		s := n.Stats()
		n.log.Info("messages since the start", s.Attrs()...)
	})
	<-n.done
	return n.err
}

// connected reports whether any socket is left, or an app in the process.
func (n *Node) connected() bool {
	if n.open.Load() > 0 {
		return true
	}
	for _, l := range n.loops {
		if l.net.Sockets() > 0 {
			return true
		}
	}
	return false
}

func (n *Node) awaitDrained(ctx context.Context) error {
	for _, l := range n.loops {
		select {
		case <-l.drained:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// onLoops runs f on every loop and waits for all.
func (n *Node) onLoops(ctx context.Context, f func(*loop)) error {
	ran := make(chan struct{}, len(n.loops))
	for _, l := range n.loops {
		l.post(func() { f(l); ran <- struct{}{} })
	}
	for range n.loops {
		select {
		case <-ran:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
