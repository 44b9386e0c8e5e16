package uplink

import (
	"context"
	"testing"
)

// BenchmarkPublish is what a message costs until it is with the writer.
func BenchmarkPublish(b *testing.B) {
	c := byHand(b, Options{})
	h, body := header(bob), content(0, 100)
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Publish(ctx, h, testSession, body); err != nil {
			b.Fatal(err)
		}
		if c.n.messages.Add(1)%1000 == 0 { // the node's windows
			c.take([]byte("\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x03\x00\x00"))
			c.take([]byte("\x00\x00\x04\x08\x00\x00\x00\x00\x01\x00\x03\x00\x00"))
		}
	}
}

// BenchmarkReceive is what a message costs from the read to the app.
func BenchmarkReceive(b *testing.B) {
	handle := func([][]byte) {}
	for name, o := range map[string]Options{"Receive": {}, "Handle": {Handle: handle}, "Load": {Handle: handle, Verify: VerifyFirst}} {
		b.Run(name, func(b *testing.B) {
			c := byHand(b, o)
			const batch = 20
			var msgs [][]byte
			for i := range batch {
				msgs = append(msgs, publication(i, 100))
			}
			frame := fromNode(b, msgs...)
			ctx := context.Background()
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				if n%batch == 0 && !c.take(frame) {
					b.Fatal(c.Err())
				}
				if o.Handle == nil {
					if _, err := c.Receive(ctx); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
