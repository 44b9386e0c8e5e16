package faults

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/client"
	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/internal/simnet"
)

// A client that ends its channel in order may take the answer for a promise: all that it has sent was taken.
func TestChannelEndsAfterItsMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const pause = time.Second
		p := &Proxy{Net: new(simnet.Net), Pause: func() { time.Sleep(pause) }}
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		dialled, err := client.Dialer{Net: p.Net.Dial}.Dial(t.Context(), p.Addr(), load.DialOptions{})
		if err != nil {
			t.Fatal(err)
		}
		c := dialled.(*client.Conn)
		if err := c.Send(t.Context(), client.Letter{Text: []byte("last words")}.Encode()); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if err := c.Conn.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took < pause {
			t.Errorf("it was told after %v that all was taken; its message waited for %v", took, pause)
		}
	})
}
