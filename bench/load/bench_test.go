package load

import "testing"

// What a message costs its receiver: 1 µs and less a message is what nodes take, so a few per cent of that are a lot.
func BenchmarkReceive(b *testing.B) {
	for name, size := range map[string]int{"100 B": 100, "16 KiB": 16 << 10} {
		b.Run(name, func(b *testing.B) {
			r := NewReceiver(0, 1, 1)
			r.Phase(0, 0)
			payload := make([]byte, size)
			for i := range b.N {
				Stamp{Seq: uint64(i), At: 10}.Put(payload)
				r.Begin(1000)
				r.Deliver(payload)
				r.Flush()
			}
		})
	}
}
