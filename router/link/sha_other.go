//go:build !amd64

package link

const hasSHA = false // and so nothing below is called

func block(*[8]uint32, []byte) { panic("link: no SHA instructions") }

func block2(_, _ *[8]uint32, _, _ *byte, _ int) { panic("link: no SHA instructions") }

func sum(*[32]byte, *[8]uint32) { panic("link: no SHA instructions") }
