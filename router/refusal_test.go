package router

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed31b3bfd0/slimgo/wire/compress"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
)

// responsePeer is a peer that keeps the last response.
type responsePeer struct {
	*peer
	status   int
	encoding string
}

func (p *responsePeer) Response(_ *h2.Stream, r *h2.Response) {
	v, _ := r.Field("grpc-accept-encoding")
	p.status, p.encoding = r.GRPCStatus, string(v)
}

func TestRefusalOfCompressionNamesWhatIsTaken(t *testing.T) {
	r := newRig(t, 1, Options{})
	p := r.connect(0)
	p.paused = true
	if _, err := p.cli.Open([]h2.Field{{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"},
		{Name: ":authority", Value: "test"}, {Name: ":path", Value: openChannelPath}, {Name: "content-type", Value: "application/grpc"},
		{Name: "grpc-encoding", Value: "br"}}); err != nil {
		t.Fatal(err)
	}
	p.exchange()
	n, err := unix.Read(p.fd, p.buf)
	if err != nil {
		t.Fatal(err)
	}
	got := &responsePeer{peer: p}
	if err := p.cli.Feed(p.opened(n), got); err != nil {
		t.Fatal(err)
	}
	if got.status != 12 || got.encoding != compress.AcceptEncoding {
		t.Errorf("status %d, grpc-accept-encoding %q, want %d and all that are known", got.status, got.encoding, 12)
	}
}
