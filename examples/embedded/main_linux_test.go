package main

import (
	"context"
	"strings"
	"testing"
	"time"
)

func TestEmbedded(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var out strings.Builder
	if err := run(ctx, []string{"-listen", "127.0.0.1:0", "hello", "there"}, &out); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != "org/demo/bob: HELLO THERE\n" {
		t.Errorf("%q", got)
	}
}
