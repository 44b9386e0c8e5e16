package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
)

// The key holds from the start, and a reload changes it.
func TestAllowedOriginsReachTheNode(t *testing.T) {
	t.Parallel()
	r := startReloading(t, serviceText([]string{plain("ws://127.0.0.1:0/", "allowed_origins: [https://one.example]")}, nil))
	asks := func(origin string) int {
		t.Helper()
		c, err := net.Dial("tcp", r.nodes[0].Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
			"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nOrigin: "+origin+"\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode
	}
	if one, two := asks("https://one.example"), asks("https://two.example"); one != 101 || two != 403 {
		t.Errorf("at the start %d and %d", one, two)
	}
	r.reload(serviceText([]string{plain("ws://127.0.0.1:0/", "allowed_origins: [https://two.example]")}, nil), loadedAnew)
	if one, two := asks("https://one.example"), asks("https://two.example"); one != 403 || two != 101 {
		t.Errorf("after the reload %d and %d", one, two)
	}
}
