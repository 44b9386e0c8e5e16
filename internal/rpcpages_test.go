package internal

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What the pages on calls name of ours is there: package.Name in their own packages, and Name or Type.Name in the last column of tables, where
// it is of package rpc, or in a table of slimrpc, of that.
func TestRPCPages(t *testing.T) {
	names := map[string]map[string]bool{}
	for name, dir := range map[string]string{
		"rpc": "session/rpc", "rpcgrpc": "session/rpc/rpcgrpc", "slimrpc": "session/rpc/slimrpc", "session": "session", "sessiontest": "session/sessiontest",
	} {
		names[name] = exported(t, filepath.Join(root(t), filepath.FromSlash(dir)))
	}
	qualified := regexp.MustCompile(`\b(rpc|rpcgrpc|slimrpc|session|sessiontest)\.([A-Z]\w*)`)
	bare := regexp.MustCompile("`([A-Z]\\w*(?:\\.[A-Z]\\w*)?)`")
	for page, least := range map[string]int{"rpc.md": 10, "rpc-grpc.md": 60, "rpc-bindings.md": 50} {
		b, err := os.ReadFile(filepath.Join(root(t), "docs", page))
		if err != nil {
			t.Fatal(err)
		}
		checked := 0
		for line := range strings.Lines(string(b)) {
			for _, m := range qualified.FindAllStringSubmatch(line, -1) {
				checked++
				if !names[m[1]][m[2]] {
					t.Errorf("%s: package %s has no %s: %s", page, m[1], m[2], line)
				}
			}
			columns := strings.Split(strings.Trim(line, "|\n "), " | ")
			if page == "rpc.md" || len(columns) != 2 {
				continue
			}
			for i, column := range columns {
				for _, m := range bare.FindAllStringSubmatch(column, -1) {
					if i == 0 && !names["slimrpc"][m[1]] || ofAService(m[1]) { // of somebody else's, or of generated code
						continue
					}
					checked++
					if !names["rpc"][m[1]] && !names["slimrpc"][m[1]] && !names["session"][m[1]] {
						t.Errorf("%s: none of our packages has %s: %s", page, m[1], line)
					}
				}
			}
		}
		if checked < least {
			t.Errorf("%s: only %d names", page, checked)
		}
	}
}

// ofAService reports whether generated code has a name, for a service X.
func ofAService(name string) bool {
	return regexp.MustCompile(`^(New|Register|Unimplemented|Unsafe)?X(Group)?(Client|Server)$`).MatchString(name)
}
