package netloop

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"time"
)

// handshake is a connection whose TLS handshake runs, on a goroutine of its own with I/O that blocks. Many of them may
// wait for their peers, which costs little; few compute at a time: who has bytes to go on with waits for a turn.
type handshake struct {
	raw      net.Conn
	turns    chan struct{} // holds one for each that computes
	mine     bool          // one of these
	deadline time.Time
	got      int  // bytes read
	wrote    int  // bytes written
	alert    byte // the last alert that was sent in the clear; 0: none
	come     walk // to the end of what was read
	heard    byte // the last alert that has come in the clear; 0: none
}

// maxHandshake is how many bytes of a handshake are read, of a stranger that may have many: room for a chain of
// certificates. crypto/tls keeps what is not complete, up to twice as much.
const maxHandshake = 32 << 10

var errLong = fmt.Errorf("the TLS handshake takes more than %d bytes", maxHandshake)

// begin waits for a turn to compute.
func (h *handshake) begin() error {
	h.turns <- struct{}{}
	h.mine = true
	if time.Now().After(h.deadline) { // nobody waits for the outcome any more
		return os.ErrDeadlineExceeded
	}
	return nil
}

// end lets another compute.
func (h *handshake) end() {
	if h.mine {
		h.mine = false
		<-h.turns
	}
}

func (h *handshake) read(p []byte) (int, error) {
	h.end()
	if h.got > maxHandshake {
		return 0, errLong
	}
	n, err := h.raw.Read(p)
	h.got += n
	h.listen(p[:n])
	if err == nil {
		err = h.begin()
	}
	return n, err
}

// listen takes note of an alert in the clear. OpenSSL sends those of TLS 1.3 so while crypto/tls waits for ciphertext
// already, for which it takes them.
func (h *handshake) listen(p []byte) {
	for len(p) > 0 {
		n, ends := h.come.step(p)
		if ends && h.come.head[0] == alertRecord && h.come.head[3] == 0 && h.come.head[4] == 2 {
			h.heard = p[n-1]
		}
		p = p[n:]
	}
}

const alertRecord = 21

func (h *handshake) write(p []byte) (int, error) {
	if len(p) == recordHead+2 && p[0] == alertRecord { // a sealed one is longer
		h.alert = p[recordHead+1]
	}
	h.end()
	n, err := h.raw.Write(p)
	h.wrote += n
	if err == nil {
		err = h.begin()
	}
	return n, err
}

// handshakes are those of one listener.
type handshakes struct {
	mu    sync.Mutex
	ended bool                  // guarded by mu
	conns map[net.Conn]struct{} // guarded by mu
	wg    sync.WaitGroup
}

// add notes a connection whose handshake begins, and may take until deadline; false: no more may. Nobody else sets the
// deadline but end: one that is set later would undo that.
func (hs *handshakes) add(c net.Conn, deadline time.Time) bool {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if hs.ended {
		return false
	}
	_ = c.SetDeadline(deadline)
	if hs.conns == nil {
		hs.conns = map[net.Conn]struct{}{}
	}
	hs.conns[c] = struct{}{}
	return true
}

func (hs *handshakes) remove(c net.Conn) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	delete(hs.conns, c)
}

// hurry gives up those whose peers have been waited for so long, time to compute not included: there is no room for others.
func (hs *handshakes) hurry(patience time.Duration) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	for c := range hs.conns {
		if in, ok := c.(*incoming); ok && in.waitedFor() >= patience {
			in.hurried.Store(true)
			_ = c.SetDeadline(time.Unix(1, 0))
		}
	}
}

// end gives up those that run, and waits until they have noticed: a peer whose handshake fails tries again.
func (hs *handshakes) end() {
	hs.mu.Lock()
	hs.ended = true
	for c := range hs.conns {
		_ = c.SetDeadline(time.Unix(1, 0))
	}
	hs.mu.Unlock()
	hs.wg.Wait()
}

// handshakeTurns is how many handshakes may compute at a time: as many as there are processors that loops leave.
func handshakeTurns(loops int) int { return max(1, runtime.GOMAXPROCS(0)-loops) }

// Defaults of Acceptance.Timeout and Patience. The latter is some round trips of a long way.
const (
	handshakeTimeout  = 10 * time.Second
	handshakePatience = 2 * time.Second
)

// admitSealed has the handshake of an accepted connection run, which then becomes a socket. It takes over the descriptor,
// and needs no other until the handshake is complete: many that wait could not wait for each other's.
func (e *Engine) admitSealed(ln *Listener, a *Acceptance, hs *handshakes, c *incoming) {
	accepted := time.Now()
	l := e.leastLoaded()
	l.sockets.Add(1) // from now on: a limit of sockets is one of handshakes, too
	hs.wg.Go(func() {
		defer l.sockets.Add(-1)
		defer func() { _ = c.Close() }()
		deadline := accepted.Add(cmp.Or(a.Timeout, handshakeTimeout))
		if !hs.add(c, deadline) {
			return
		}
		e.guarded(func() { e.shakeHands(ln, a, l, hs, c, accepted, deadline) })
	})
}

// shakeHands runs a handshake and makes a socket of c, or tells why not.
func (e *Engine) shakeHands(ln *Listener, a *Acceptance, l *Loop, hs *handshakes, c *incoming, accepted, deadline time.Time) {
	s, err := shake(c, false, a.TLS, e.turns, accepted, deadline)
	hs.remove(c) // its deadline is not for what follows
	if err != nil {
		if a.Refused != nil && !e.stopping() && !ln.isClosed() {
			a.Refused(ln, err)
		}
		return
	}
	e.admit(ln, *a, c, l, s, time.Now().Add(deadline.Sub(accepted)))
}

// shake runs the handshake of c, as a client if it was dialled. c has the deadline already.
func shake(c net.Conn, dialled bool, config *tls.Config, turns chan struct{}, accepted, deadline time.Time) (*sealed, *HandshakeError) {
	role := tls.Server
	if dialled {
		role = tls.Client
	}
	h := &handshake{raw: c, turns: turns, deadline: deadline}
	s := &sealed{hs: h, accepted: accepted}
	defer h.end()
	s.conn = role(s, config)
	if err := s.conn.Handshake(); err != nil {
		return nil, h.explain(s.conn, err, deadline.Sub(accepted), dialled)
	}
	s.written, s.hs, s.early, s.come = h.wrote, nil, true, s.taken
	s.overhead = recordOverhead(s.conn.ConnectionState())
	return s, nil
}
