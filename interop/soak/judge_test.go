//go:build interop

package soak

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/seed31b3bfd0/slimgo/bench/load"
)

// session is an encoded SessionHeader, the same for all honest messages.
var session = []byte{0x08, 0x01, 0x10, 0x01, 0x18, 0x07}

// noise is what payloads are filled with.
var noise = func() []byte {
	b := make([]byte, maxSize+256)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}()

// maxSize is the largest payload of honest traffic, minSize the smallest: a stamp.
const (
	maxSize = 64 << 10
	minSize = load.StampSize
)

// content appends an encoded Content with a payload of size bytes: noise that depends on the message's number, and the
// stamp at the very end.
func content(dst []byte, size int, s load.Stamp) []byte {
	app := 1 + uvarintLen(size) + size // ApplicationPayload.blob
	dst = binary.AppendUvarint(append(dst, 0x0a), uint64(app))
	dst = binary.AppendUvarint(append(dst, 0x12), uint64(size))
	dst = append(dst, noise[s.Seq%256:][:size]...) // its end makes room for the stamp
	s.Put(dst[len(dst)-load.StampSize:])
	return dst
}

func uvarintLen(n int) int { return len(binary.AppendUvarint(nil, uint64(n))) }

// flow is the messages of one sender under one name.
type flow struct {
	id    uint32
	name  string
	sizes []int // of the payloads, in turn

	mu   sync.Mutex
	sent uint64 // guarded by mu
}

func (f *flow) size(seq uint64) int { return f.sizes[seq%uint64(len(f.sizes))] }

func (f *flow) sends() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sent
}

// tally is what came of one flow, at one receiver, or at several that share it. Guarded by mu.
type tally struct {
	flow *flow
	kind string   // of traffic, for the table
	some []uint64 // of several receivers: the number after the last one each has got; else nil

	mu       sync.Mutex
	sequence load.Sequence
	changed  uint64  // messages that are not what was sent
	order    uint64  // messages that came after a later one at the same receiver
	delays   *delays // nil: nobody asks
	want     []byte  // scratch
}

// see takes a message that belongs to the flow, with its stamp; at is now, receiver counts those who share the flow.
func (y *tally) see(msg []byte, s load.Stamp, at int64, receiver int) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.want = content(y.want[:0], y.flow.size(s.Seq), s)
	if head, ok := bytes.CutSuffix(msg, y.want); !ok || !bytes.Contains(head, session) {
		y.changed++
		return
	}
	if y.some != nil {
		if s.Seq < y.some[receiver] {
			y.order++
		}
		y.some[receiver] = s.Seq + 1
	}
	y.sequence.See(s.Seq)
	y.sequence.Publish()
	if y.delays != nil {
		y.delays.record(at - s.At)
	}
}

// verdict is what a tally has come to.
type verdict struct {
	Sent, Received, Lost, Doubled, Reordered, Changed uint64
}

// verdict compares with what was sent.
func (y *tally) verdict() verdict {
	sent := y.flow.sends()
	y.mu.Lock()
	defer y.mu.Unlock()
	seen := y.sequence.Seen()
	v := verdict{Sent: sent, Received: seen.Received, Doubled: seen.Duplicates, Reordered: seen.Reordered, Changed: y.changed}
	if y.some != nil {
		v.Reordered = y.order
	}
	v.Lost = sent - min(sent, seen.Received-seen.Duplicates)
	return v
}

func (v *verdict) add(o verdict) {
	v.Sent += o.Sent
	v.Received += o.Received
	v.Lost += o.Lost
	v.Doubled += o.Doubled
	v.Reordered += o.Reordered
	v.Changed += o.Changed
}

// faults tells what is wrong, but for what is lost; empty: nothing.
func (v *verdict) faults() string {
	if v.Doubled+v.Reordered+v.Changed == 0 {
		return ""
	}
	return fmt.Sprintf("%d came twice, %d out of order, %d changed", v.Doubled, v.Reordered, v.Changed)
}

// delays is a histogram that many receivers write to.
type delays struct {
	mu   sync.Mutex
	hist *load.Latency // guarded by mu
}

func newDelays() *delays { return &delays{hist: load.NewLatency()} }

func (d *delays) record(ns int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hist.Record(ns)
}

// take returns what was recorded, and begins anew.
func (d *delays) take() *load.Latency {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.hist
	d.hist = load.NewLatency()
	return h
}
