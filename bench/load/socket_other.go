//go:build !unix

package load

const writesDirectly = false

func writeNow(uintptr, []byte) (n int, again bool, err error) { panic("load: no direct writes here") }
