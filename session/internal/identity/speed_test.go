package identity

import (
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/mls"
	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// A heartbeat, as each member of a session says and hears one in ten seconds.
func BenchmarkHeartbeat(b *testing.B) {
	for _, c := range []struct {
		name  string
		suite mls.CipherSuite
	}{{"P-256", mls.P256AES128SHA256P256}, {"Ed25519", mls.X25519AES128SHA256Ed25519}} {
		signing, err := mls.GenerateSigningKey(c.suite, nil)
		if err != nil {
			b.Fatal(err)
		}
		k, err := NewKey(signing.Bytes(), signing.Public())
		if err != nil {
			b.Fatal(err)
		}
		id, err := NewSecret("org/ns/app", secret, signing.Public())
		if err != nil {
			b.Fatal(err)
		}
		now := time.Now()
		source := Name(wire.Text("org", "ns", "app"), id.Subject())
		beat := func() *message.Message {
			return &message.Message{
				Source: source, Dest: wire.Text("org", "ns", "other"), Kind: message.PointToPoint,
				Type: message.Heartbeat, Session: 7, ID: 9, Identity: id.Token(now), Command: &message.Beat{Epoch: 3},
			}
		}
		b.Run(c.name+"/sign", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := k.Sign(beat()); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(c.name+"/verify", func(b *testing.B) {
			m := beat()
			if err := k.Sign(m); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				claims, err := id.Verify(m.Identity, now)
				if err != nil {
					b.Fatal(err)
				}
				if ok, err := VerifySignatures(m, claims); err != nil || !ok {
					b.Fatal(err)
				}
			}
		})
	}
}
