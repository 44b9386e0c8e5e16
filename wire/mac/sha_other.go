//go:build !amd64

package mac

const hasSHA = false // and so nothing below is called

func block(*[8]uint32, []byte) { panic("mac: no SHA instructions") }

func block2(_, _ *[8]uint32, _, _ *byte, _ int) { panic("mac: no SHA instructions") }

func sum(*[32]byte, *[8]uint32) { panic("mac: no SHA instructions") }
