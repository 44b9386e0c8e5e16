package uplink

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/seed31b3bfd0/slimgo/wire/link"
	"github.com/seed31b3bfd0/slimgo/wire/mac"
)

const (
	lastWord = time.Second     // for what is still to be said when a connection ends
	lastRead = 5 * time.Second // of silence, after writing has failed: what the node sent before is read
)

// Conn is a connection to a node. See the package comment.
type Conn struct {
	o     Options // filled; fixed
	addr  string  // fixed
	nc    net.Conn
	web   bool          // the channel is a WebSocket
	ready chan struct{} // closed when messages may be sent; link is set before
	done  chan struct{} // closed when nothing of the connection runs any more
	link  Link          // fixed once ready is closed

	// The reader's.
	in       arrivals
	said     []byte        // the first bytes of the node
	handed   [][]byte      // what goes to Options.Handle
	machine  *link.Machine // nil: there is nothing to negotiate, or it is done
	verifier hasher
	verified bool // a message had the right header MAC

	packing packing
	signer  signer // has a lock of its own, taken before mu
	inbox   inbox  // likewise, and taken alone
	n       counters

	mu       sync.Mutex
	work     sync.Cond // for the writer: out, pending, closing or err
	room     sync.Cond // for senders: the queue is shorter, or it is over
	less     sync.Cond // for the reader: fewer messages wait for the app, closing or err
	f        framing
	out      []byte // frames for the next write
	spare    []byte // of the last one; nil while it goes on
	writing  bool   // a write goes on
	going    int    // bytes that it writes
	pending  []byte // a batch that waits for the node's window
	sent     int    // of pending
	running  int    // goroutines of the connection
	closing  bool   // Close was called: nothing more is accepted
	finished bool   // the end of our messages is in out, or written
	answers  int    // bytes of control in out
	unwell   error  // writing has failed: nothing more is written, and the reader goes on to the end
	err      error  // why it is over; nil: it goes on
	clean    bool   // it is over because Close was called, and the node has taken everything
	doing    string // for errors
	key      link.Key
	requests requests
	waited   time.Duration // for room
	timer    *time.Timer
	beats    beats
}

// Link is what was negotiated. The zero Link is that of a connection with NoLink.
type Link struct {
	ID               string
	Kind             Kind // as the node echoed it
	Signed           bool // headers carry a MAC
	Hybrid           bool // whose key comes from X25519 and ML-KEM-768
	RemoteVersion    string
	RemoteNode       string // may be empty
	RemoteDeployment string // may be empty
}

// Link returns what was negotiated.
func (c *Conn) Link() Link { return c.link }

// LocalAddr returns the address of this end.
func (c *Conn) LocalAddr() net.Addr { return c.nc.LocalAddr() }

// RemoteAddr returns the address of the node.
func (c *Conn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }

// NewMAC returns a MAC of the link for who signs messages himself, and then sends them with Write; he closes it. nil:
// the link has none, or the connection has ended.
func (c *Conn) NewMAC() *mac.MAC {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.key == nil || c.link.Kind == Peer {
		return nil
	}
	return mac.New(c.key, c.link.ID)
}

// Done is closed when the connection has ended and nothing of it runs any more.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err returns why the connection has ended: ErrClosed after Close and Abort, else an *Error. nil while it lives.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends the connection in order: it accepts nothing more, sends what was accepted, and waits until the node has
// ended the channel, which a node does when it has taken everything. nil means just that; else the error wraps
// ErrUnsent, and what ended the connection. When ctx ends, so does the connection. Messages that arrive meanwhile are
// dropped and counted; those that wait for Receive can still be received. Further calls wait for the same end. Not
// from Options.Handle.
func (c *Conn) Close(ctx context.Context) error {
	c.mu.Lock()
	if c.err == nil && !c.closing {
		c.closing, c.doing = true, "closing"
		c.room.Broadcast()
		c.work.Signal()
		c.less.Signal()
	}
	c.mu.Unlock()
	select {
	case <-c.done:
	case <-ctx.Done():
		c.mu.Lock()
		c.abort(&Error{Fault: Node, Doing: "closing", Addr: c.addr, Err: ctx.Err()})
		c.mu.Unlock()
		<-c.done
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.clean {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrUnsent, c.err)
}

// Abort ends the connection at once, as when an app dies, and does not wait: Done tells when nothing runs any more.
func (c *Conn) Abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.abort(ErrClosed)
}

// abort is end without a last word. mu is held.
func (c *Conn) abort(err error) {
	c.end(err)
	c.out = c.out[:0]
	_ = c.nc.Close() // wakes the reader and the writer
}

// fail ends the connection with an error of this kind. mu is held.
func (c *Conn) fail(f Fault, err error) {
	c.end(&Error{Fault: f, Doing: c.doing, Addr: c.addr, Err: err})
}

// end is the end of the connection, of which the first reason counts. The writer says a last word and closes the
// socket. mu is held.
func (c *Conn) end(err error) {
	if c.err != nil {
		return
	}
	c.err = err
	c.f.cut()
	c.f.close()
	c.out, c.pending, c.sent = c.f.control(c.out[:0]), nil, 0
	_ = c.nc.SetWriteDeadline(time.Now().Add(lastWord)) // of what is closed already: nothing to set
	if c.timer != nil {
		c.timer.Stop()
	}
	clear(c.key)
	c.key = nil
	c.requests.fail(err)
	c.room.Broadcast()
	c.work.Signal()
	c.less.Signal()
}

// lost ends the connection after a read that failed. mu is held.
func (c *Conn) lost(err error) {
	if refusal := c.f.inputEnded(); refusal != nil {
		c.fail(Node, refusal)
		return
	}
	switch {
	case c.unwell != nil: // it broke first, and what the node had sent has been read
		err = c.unwell
	case c.finished:
		err = fmt.Errorf("the node hung up before it had ended the channel: %w", err)
	}
	c.fail(Network, err)
}

// start runs the connection.
func (c *Conn) start() {
	c.running = 2
	go c.read()
	go c.write()
}

// leave is the end of one of the goroutines. Without mu: the signer's lock is taken before it.
func (c *Conn) leave() {
	c.mu.Lock()
	c.running--
	last := c.running == 0
	c.mu.Unlock()
	if !last {
		return
	}
	c.signer.close()
	c.verifier.close()
	if c.machine != nil {
		c.machine.Close()
	}
	close(c.done)
}

var errBatch = errors.New("uplink: a batch is whole messages, each with its prefix")
