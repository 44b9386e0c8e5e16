package transport

import "github.com/seed31b3bfd0/slimgo/wire/h2"

// page answers a request that is no gRPC call: somebody looks with a browser or a probe.
type page struct {
	stream *h2.Stream
	rest   []byte
}

var pageText = []byte("This is a SLIM node. Applications reach it with gRPC:\nPOST " + openChannel + "\n")

// answer sends the page, as far as windows allow at once.
func (k *socket) answer(s *h2.Stream) {
	p := &page{stream: s, rest: pageText}
	s.User = p
	k.h2.RespondAs(s, 404, "text/plain; charset=utf-8")
	k.writePage(p)
}

// writePage stages what the windows take, and the end after the last byte.
func (k *socket) writePage(p *page) {
	if len(p.rest) == 0 || !k.net.Takes() || p.stream.Window() <= 0 {
		return
	}
	x := k.outbox()
	for len(p.rest) > 0 {
		var n int
		if x.B, n = k.h2.Data(x.B, p.stream, len(p.rest)); n == 0 {
			return
		}
		x.B = append(x.B, p.rest[:n]...)
		p.rest = p.rest[n:]
	}
	x.B = k.h2.Trailers(x.B, p.stream, statusUnimplemented, "")
}
