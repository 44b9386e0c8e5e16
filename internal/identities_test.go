package internal

import (
	"os/exec"
	"strings"
	"testing"
)

// An app carries what its identity stands on, and nothing of identities that it does not have.
func TestAppsCarryTheirIdentityOnly(t *testing.T) {
	heavy := map[string]string{"JOSE": "github.com/lestrrat-go/jwx", "SPIFFE": "github.com/spiffe/go-spiffe", "gRPC": "google.golang.org/grpc"}
	apps := map[string]string{
		"session": "", "session/uplink": "", "session/identity": "", "session/sqlite": "",
		"session/identity/jwt": "JOSE", "session/identity/oidc": "JOSE", "session/identity/spiffe": "SPIFFE gRPC",
	}
	args := []string{"list", "-f", "{{.ImportPath}} {{join .Deps \" \"}}"}
	for pkg := range apps {
		if find(pkg) == nil {
			t.Errorf("there is no row of %s", pkg)
		}
		args = append(args, "./"+pkg)
	}
	list := exec.Command("go", args...)
	list.Dir = root(t)
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	listed := 0
	for line := range strings.Lines(string(out)) {
		path, deps, _ := strings.Cut(line, " ")
		pkg := strings.TrimPrefix(path, module+"/")
		has, wanted := apps[pkg]
		if !wanted {
			t.Fatalf("go list names %s", path)
		}
		listed++
		for name, path := range heavy {
			if carries := strings.Contains(" "+deps, " "+path); carries != strings.Contains(has, name) {
				t.Errorf("%s carries %s: %v", pkg, name, carries)
			}
		}
	}
	if listed != len(apps) {
		t.Errorf("%d packages are listed, want %d", listed, len(apps))
	}
}
