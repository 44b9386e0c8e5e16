package uplink

import (
	"fmt"

	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/wire/compress"
)

// packing compresses what is sent; guarded by signer.mu. encoding is fixed once Conn.ready is closed.
type packing struct {
	encoding compress.Encoding // None: the node takes nothing compressed
	sampler  compress.Sampler
	out      compress.Compressor
	msg      []byte // scratch
}

// pack returns a message compressed, with a prefix that says so, or as it is: head, which begins with its prefix, and
// tail. The result is borrowed until the next call. signer.mu is held.
func (p *packing) pack(head, tail []byte) (a, b []byte) {
	if p.encoding == compress.None || len(tail) < compress.Least || len(tail) > compress.Most || len(head) > compress.MostHead || !p.sampler.Try() {
		return head, tail
	}
	packed, _ := p.out.Tail(p.encoding, tail)
	p.sampler.Tried(packed != nil)
	if packed == nil {
		return head, tail
	}
	h := head[prefixLen:]
	n := compress.HeadSize(p.encoding, len(h)) + len(packed) + compress.EndSize(p.encoding)
	if cap(p.msg) > keptScratch {
		p.msg = nil
	}
	p.msg = appendPrefix(p.msg[:0], n)
	p.msg[0] = 1 // the compressed flag: P-tr-3
	p.msg = append(compress.AppendHead(p.msg, p.encoding, h), packed...)
	p.msg = compress.AppendEnd(p.msg, p.encoding, h, tail)
	return p.msg, nil
}

// expanding expands what comes. The reader's.
type expanding struct {
	in      compress.Expander
	content []byte // scratch
}

// expand returns the content of a message in memory of its size.
func (x *expanding) expand(e compress.Encoding, b []byte) (a arrival, err error) {
	x.content, err = x.in.Append(x.content[:0], e, b, MaxMessage)
	if err == nil {
		a.buf = pool.Get(len(x.content))
		a.buf.B = append(a.buf.B, x.content...)
		a.b = a.buf.B
	} else {
		err = fmt.Errorf("the node sent a message that does not expand: %w", err)
	}
	if cap(x.content) > keptScratch {
		x.content = nil
	}
	return a, err
}
