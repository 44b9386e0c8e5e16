package wire_test

import (
	"bytes"
	"testing"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// step is one step of a publish through a node, as a function that repeats it.
type step struct {
	name string
	run  func()
}

// publishSteps are the steps on b. Each fails t if its result is not what the others assume.
func publishSteps(t testing.TB, b []byte) []step {
	m, h, hd := parse(t, b)
	tag := make([]byte, wire.MACSize)
	out := make([]byte, 0, 2*len(b))
	size := wire.HeaderSize(&hd, hd.TTL-1, true)
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	var m2 wire.Message
	var hd2, hd3 wire.Header
	hd3 = hd
	return []step{
		{"Scan", func() { must(wire.Scan(b, &m2)) }},
		{"ParseHeader", func() { must(wire.ParseHeader(h, &hd2)) }},
		{"ParseRest", func() { must(wire.ParseRest(h, &hd3)) }},
		{"HashesMatch", func() {
			if wire.HashesMatch(h, &hd.Dest) != hd.Dest.HasStr {
				t.Fatal("hashes differ")
			}
		}},
		{"AppendOpening", func() { out = wire.AppendOpening(out[:0], b, &m, size) }},
		{"AppendHeader", func() { out = wire.AppendHeader(out[:0], h, &hd, hd.TTL-1, tag) }},
	}
}

func TestStepsOfAPublishDoNotAllocate(t *testing.T) {
	unusual := field(3, field(1, someHeader, field(3, []byte("日本")), number(7, 1), number(6, 8), field(20), number(10,
		1)), field(2))
	steps := append(publishSteps(t, samplePublish(40, 60)), publishSteps(t, unusual)...)
	for _, s := range steps {
		if n := testing.AllocsPerRun(100, s.run); n != 0 {
			t.Errorf("%s: %v allocations", s.name, n)
		}
	}
	if n := testing.AllocsPerRun(100, func() { wire.Hash("org") }); n != 0 {
		t.Errorf("Hash: %v allocations", n)
	}
}

func BenchmarkPublish(b *testing.B) {
	for _, size := range []struct {
		name              string
		identity, payload int
	}{{"350B", 40, 60}, {"token_1KiB", 229, 530}} {
		msg := samplePublish(size.identity, size.payload)
		for _, s := range publishSteps(b, msg) {
			b.Run(size.name+"/"+s.name, func(b *testing.B) {
				for b.Loop() {
					s.run()
				}
				b.ReportMetric(float64(len(msg)), "bytes")
			})
		}
	}
}

// BenchmarkScanTinyParts is what a message costs that is made to cost much: 1 MiB of the smallest parts.
func BenchmarkScanTinyParts(b *testing.B) {
	const size = 1 << 20
	parts := func(one ...byte) []byte { return bytes.Repeat(one, size/len(one)) }
	head, session := field(1, someHeader), field(2)
	for _, c := range []struct {
		name string
		msg  []byte
		n    int
	}{
		{"Session", field(3, head, field(2, parts(8, 1))), size / 2},
		{"UnknownNumbers", field(3, head, field(2, parts(0x78, 1))), size / 2},
		{"UnknownGroups", field(3, head, session, parts(0x7b, 0x7c)), size / 2},
		{"Members", field(3, head, session, field(3, field(2, field(7, parts(0x1a, 2, 0x0a, 0))))), size / 2},
		{"Strings", field(3, head, session, field(3, field(1, parts(0x0a, 2, 0xc3, 0xa9)))), size / 4},
		{"Metadata", join(field(3, head, session), parts(0x22, 0)), size / 2},
		{"Sessions", field(3, head, parts(0x12, 0)), size / 2},
		{"Headers", field(3, parts(0x0a, 0), session), size / 2},
		{"Publishes", parts(0x1a, 2, 0x0a, 0), size / 2},
	} {
		b.Run(c.name, func(b *testing.B) {
			var m wire.Message
			for b.Loop() {
				if err := wire.Scan(c.msg, &m); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*c.n), "ns/part")
		})
	}
}
