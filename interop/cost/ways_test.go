//go:build gates

package cost

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// TestWays holds the CPU that a node takes for a message of 100 B, one sender and one receiver, by TLS and by WebSocket.
// By TLS it is at most the plain figure and 1.5 times what AES-GCM takes for the same records, and a sixth of upstream's
// node; by WebSocket at most 1.3 times the plain figure, and a tenth of upstream's.
func TestWays(t *testing.T) {
	in, out := records(t)
	t.Logf("a message in: %v, out: %v", in, out)
	rust := filepath.Join(peers, "slim") + " --config {config}"
	var plain, secure, cipher, web, rustSecure, rustWeb []float64
	aes := in.open() + out.seal()
	for range *rounds {
		before := aes
		f := measure(t, "p2p", "--size", "100", "--identity", "constant", "--inflight", "1024", "--duration", "2s",
			"--node", filepath.Join(scratch, "slim")+" --config {config}", "--transports", "tls,ws",
			"--versus", "rust-tls=tls:"+rust, "--versus", "rust-ws=ws:"+rust)
		cost := func(node int) float64 { return f[node]["node CPU per delivered"] }
		plain, secure, web = append(plain, cost(0)), append(secure, cost(1)), append(web, cost(2))
		rustSecure, rustWeb = append(rustSecure, cost(3)), append(rustWeb, cost(4))
		aes = in.open() + out.seal()
		cipher = append(cipher, (before+aes)/2)
		i := len(plain) - 1
		t.Logf("plain %.0f ns, TLS %.0f, AES-GCM %.0f, WebSocket %.0f, upstream's TLS %.0f, WebSocket %.0f",
			plain[i], secure[i], cipher[i], web[i], rustSecure[i], rustWeb[i])
	}
	extra := make([]float64, len(plain))
	for i := range plain {
		extra[i] = (secure[i] - plain[i]) / cipher[i]
	}
	atMost(t, "(TLS - plain) / AES-GCM", extra, 1.5)
	atMost(t, "TLS / upstream's", ratios(secure, rustSecure), 1.0/6)
	atMost(t, "WebSocket / plain", ratios(web, plain), 1.3)
	atMost(t, "WebSocket / upstream's", ratios(web, rustWeb), 1.0/10)
}

// atMost judges the median.
func atMost(t *testing.T, what string, v []float64, bound float64) {
	t.Helper()
	got := median(v)
	t.Logf("%s: %.3f (bound %.3f); rounds %.3f", what, got, bound, v)
	if got > bound {
		t.Errorf("%s: %.3f, want at most %.3f", what, got, bound)
	}
}

// carried is what TLS carries of a message in one direction: bytes, and records of how many bytes.
type carried struct {
	bytes, record float64
}

func (c carried) String() string {
	return fmt.Sprintf("%.1f bytes in records of %.0f", c.bytes, c.record)
}

const (
	overhead = 17            // of a record of TLS 1.3: the type of its content, and the tag
	messages = 200_000       // that show how large records are
	turn     = 1_000_000_000 // bytes, of one measurement of the cipher: some 200 ms
)

// records finds how large the records are with which a node and its clients exchange messages.
func records(t *testing.T) (in, out carried) {
	t.Helper()
	n := startNode(t)
	p := &proxy{to: n.tls}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go p.serve(t.Context(), ln)
	measure(t, "p2p", "--size", "100", "--identity", "constant", "--inflight", "1024", "--count", fmt.Sprint(messages),
		"--target", "https://"+ln.Addr().String(), "--insecure")
	p.mu.Lock()
	defer p.mu.Unlock()
	of := func(s sum) carried {
		return carried{float64(s.bytes) / messages, float64(s.bytes) / float64(s.records)}
	}
	return of(p.in), of(p.out)
}

// aead is TLS_AES_128_GCM_SHA256's, which the standard library chooses where the processor has AES.
func aead() cipher.AEAD {
	block, err := aes.NewCipher(make([]byte, 16))
	if err != nil {
		panic(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return gcm
}

// seal is the time in nanoseconds that AES-GCM takes for a message's share of records.
func (c carried) seal() float64 {
	gcm, text, nonce := aead(), make([]byte, int(c.record)), make([]byte, 12)
	dst := make([]byte, 0, len(text)+gcm.Overhead())
	return c.time(func() { gcm.Seal(dst, nonce, text, nonce[:5]) })
}

// open is seal's counterpart.
func (c carried) open() float64 {
	gcm, nonce := aead(), make([]byte, 12)
	sealed := gcm.Seal(nil, nonce, make([]byte, int(c.record)), nonce[:5])
	dst := make([]byte, 0, len(sealed))
	return c.time(func() {
		if _, err := gcm.Open(dst, nonce, sealed, nonce[:5]); err != nil {
			panic(err)
		}
	})
}

// time is that of the thread, as the node's is that of its process.
func (c carried) time(one func()) float64 {
	n := int(turn / c.record)
	began := threadTime()
	for range n {
		one()
	}
	return float64(threadTime()-began) / float64(n) / c.record * c.bytes
}

func threadTime() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts); err != nil {
		panic(err)
	}
	return ts.Nano()
}

// proxy passes TLS on and counts records of application data.
type proxy struct {
	to string

	mu      sync.Mutex
	in, out sum // by way of the node
}

type sum struct{ bytes, records int }

func (p *proxy) serve(ctx context.Context, ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		up, err := new(net.Dialer).DialContext(ctx, "tcp", p.to)
		if err != nil {
			c.Close()
			continue
		}
		go p.pass(up, c, &p.in)
		go p.pass(c, up, &p.out)
	}
}

func (p *proxy) pass(to, from net.Conn, count *sum) {
	defer to.Close()
	buf := make([]byte, 256<<10)
	var head [5]byte
	have, rest := 0, 0 // bytes of head; of the record after it
	for {
		n, err := from.Read(buf)
		if _, bad := to.Write(buf[:n]); bad != nil || err != nil {
			return
		}
		for b := buf[:n]; len(b) > 0; {
			if rest > 0 {
				skip := min(rest, len(b))
				b, rest = b[skip:], rest-skip
				continue
			}
			c := copy(head[have:], b)
			b, have = b[c:], have+c
			if have < len(head) {
				continue
			}
			have, rest = 0, int(binary.BigEndian.Uint16(head[3:]))
			if head[0] == 23 {
				p.mu.Lock()
				count.bytes += rest - overhead
				count.records++
				p.mu.Unlock()
			}
		}
	}
}
