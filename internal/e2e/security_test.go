package e2e

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tintype/tintype/internal/devstack/devtest"
	"github.com/tintype/tintype/internal/kafkatest"
	"github.com/tintype/tintype/topologies"
)

// authority makes a certificate for 127.0.0.1 that is its own authority, as PEM
// files: the certificate and its key.
func authority(t *testing.T, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", pkcs8)
}

// secured are servers that ask for users over TLS.
type secured struct {
	broker     *kafkatest.Broker
	cert       string
	clickHouse string // host:port
	dir        string
}

const (
	kafkaPassword      = "kafka-secret"
	clickHousePassword = "clickhouse-secret"
)

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// secure starts a broker and a ClickHouse with TLS, users and rights. The user
// tintype may do what a deployment needs, nobody may do nothing, and the others
// lack one right each.
func secure(t *testing.T) *secured {
	t.Helper()
	s := &secured{dir: t.TempDir()}
	var key string
	s.cert, key = authority(t, "tintype test")
	broker, err := kafkatest.Start(t.Context(), kafkatest.Options{Dir: t.TempDir(), Secure: &kafkatest.Secure{
		Users: map[string]string{
			"tintype": kafkaPassword, "nobody": kafkaPassword, "transactionless": kafkaPassword, "groupless": kafkaPassword,
			"writeless": kafkaPassword, "createless": kafkaPassword,
		},
		Certificate: read(t, s.cert), Key: read(t, key),
	}})
	if err != nil {
		kafkatest.Run(t) // It skips, or tells what is missing.
		t.Fatal(err)
	}
	s.broker = broker
	t.Cleanup(func() {
		if err := broker.Stop(t.Context()); err != nil {
			t.Log(err) // The context has ended: it was killed.
		}
	})
	s.allow(t)
	engine := devtest.NeedEngine(t)
	command := exec.Command(engine.Chserver, "--dir", t.TempDir(), "--lib", engine.Lib, "--user", "tintype", "--tls-cert", s.cert, "--tls-key", key)
	command.Env = append(os.Environ(), "CHSERVER_PASSWORD="+clickHousePassword)
	command.Stderr, command.SysProcAttr = t.Output(), &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := command.StdoutPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(t, command) })
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var ready struct{ Native string }
	if err := json.Unmarshal(line, &ready); err != nil {
		t.Fatal(err)
	}
	s.clickHouse = ready.Native
	return s
}

// allow gives the user tintype the rights that docs/security.md lists.
func (s *secured) allow(t *testing.T) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.broker.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	for _, acl := range []*kadm.ACLBuilder{
		kadm.NewACLs().Allow("User:tintype", "User:transactionless", "User:groupless").Topics("uploads", "photos", "developed", "dead-letters", "measures", "windows.results", "late", "ticks", "tintype-").ResourcePatternType(kadm.ACLPatternPrefixed).
			Operations(kadm.OpRead, kadm.OpWrite, kadm.OpDescribe, kadm.OpCreate, kadm.OpDescribeConfigs),
		kadm.NewACLs().Allow("User:writeless").Topics("uploads", "photos", "developed", "dead-letters", "measures", "windows.results", "late", "ticks", "tintype-").ResourcePatternType(kadm.ACLPatternPrefixed).
			Operations(kadm.OpRead, kadm.OpCreate, kadm.OpDescribe, kadm.OpDescribeConfigs),
		kadm.NewACLs().Allow("User:createless").Topics("other-").ResourcePatternType(kadm.ACLPatternPrefixed).Operations(kadm.OpRead, kadm.OpWrite, kadm.OpDescribe),
		kadm.NewACLs().Allow("User:tintype", "User:transactionless", "User:writeless").Groups("tintype-").ResourcePatternType(kadm.ACLPatternPrefixed).Operations(kadm.OpRead, kadm.OpDescribe),
		kadm.NewACLs().Allow("User:tintype", "User:groupless", "User:writeless").TransactionalIDs("tintype-").ResourcePatternType(kadm.ACLPatternPrefixed).Operations(kadm.OpWrite, kadm.OpDescribe),
	} {
		results, err := admin.CreateACLs(t.Context(), acl.AllowHosts())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		}
	}
}

// flags point a command at the servers, as a user with a certificate authority.
func (s *secured) flags(command, user, ca string) []string {
	return []string{
		command, "--kafka", "kafka+tls://" + user + "@" + s.broker.SecureAddr() + "?sasl=scram-sha-512&ca=" + ca,
		"--clickhouse", "clickhouse+tls://tintype@" + s.clickHouse + "/default?ca=" + ca,
	}
}

// do runs a command with passwords and returns what it said and its exit code.
func (s *secured) do(t *testing.T, kafka, clickHouse string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	command := tintype(t, args...)
	command.Env = append(command.Env, "TINTYPE_KAFKA_PASSWORD="+kafka, "TINTYPE_CLICKHOUSE_PASSWORD="+clickHouse)
	var out, said bytes.Buffer
	command.Stdout, command.Stderr = &out, io.MultiWriter(&said, t.Output())
	if err := command.Run(); err != nil && command.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), said.String(), command.ProcessState.ExitCode()
}

// The whole job runs over TLS, as users with no more rights than it needs.
func TestTheJobOverTLSAndSASL(t *testing.T) {
	s := secure(t)
	blobs := "file://" + filepath.ToSlash(filepath.Join(s.dir, "blobs"))
	worker := tintype(t, append(s.flags("run", "tintype", s.cert), "--blobs", blobs, "--http-listen", "127.0.0.1:0", "--state-dir", filepath.Join(s.dir, "state"))...)
	worker.Env = append(worker.Env, "TINTYPE_KAFKA_PASSWORD="+kafkaPassword, "TINTYPE_CLICKHOUSE_PASSWORD="+clickHousePassword)
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	if _, said, code := s.do(t, kafkaPassword, clickHousePassword, append(s.flags("produce", "tintype", s.cert), "--blobs", blobs, "--synthetic", "30", "--small", "--wait", "--wait-timeout", "1m")...); code != 0 {
		t.Fatalf("produce: exit code %d: %s", code, said)
	}
	for _, command := range []string{"doctor", "audit"} {
		args := s.flags(command, "tintype", s.cert)
		if command == "doctor" {
			args = append(args, "--blobs", blobs)
		}
		out, said, code := s.do(t, kafkaPassword, clickHousePassword, args...)
		if code != 0 {
			t.Errorf("%s: exit code %d: %s%s", command, code, out, said)
		}
		if command == "doctor" && (!strings.Contains(out, "end what the dead one left open") || !strings.Contains(out, "allow this user DescribeConfigs on the cluster")) {
			t.Errorf("doctor, as a user who may see transactions and no settings: %s", out)
		}
	}
	// As a user who may see the broker's settings.
	args := append(s.flags("doctor", "tintype", s.cert), "--blobs", blobs)
	args[2] = s.broker.Addr()
	if out, said, code := s.do(t, "", clickHousePassword, args...); code != 0 || !strings.Contains(out, "up to 31s (transaction 30s, the brokers look every 1s)") {
		t.Errorf("doctor, as a user who may see settings: exit code %d: %s%s", code, out, said)
	}
	flags := s.flags("sql", "tintype", s.cert)
	out, said, code := s.do(t, kafkaPassword, clickHousePassword, append([]string{"sql"}, append(flags[3:], "-o", "csv", "SELECT count() FROM uploads")...)...)
	if code != 0 || !strings.Contains(out, "30") {
		t.Errorf("sql: exit code %d: %s%s", code, out, said)
	}
	end(t, worker)
}

// maxCalls is how often a command may connect to the address that it was given
// before it ends: each of three stages has up to four clients, which go there once.
const maxCalls = 15

var loopbackAddress = regexp.MustCompile(`127\.0\.0\.1:\d+`)

// counted puts a proxy that counts connections before the address in a URL.
func counted(t *testing.T, url string) (proxied string, connections *atomic.Int64) {
	t.Helper()
	to := loopbackAddress.FindString(url)
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	connections = new(atomic.Int64)
	var pipes sync.WaitGroup
	pipes.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return // The listener is closed.
			}
			connections.Add(1)
			out, err := new(net.Dialer).DialContext(t.Context(), "tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
				pipes.Go(func() {
					_, _ = io.Copy(way[0], way[1]) // However it ends, both sides learn it.
					_, _ = in.Close(), out.Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		pipes.Wait()
	})
	return strings.Replace(url, to, l.Addr().String(), 1), connections
}

// What is wrong with a certificate, a password or a right is one line, at once.
func TestWhatKeepsTheJobOut(t *testing.T) {
	s := secure(t)
	otherCert, _ := authority(t, "somebody else")
	run := func(user, ca string) []string {
		return append(s.flags("run", user, ca), "--blobs", "file://"+filepath.ToSlash(s.dir), "--http-listen", "127.0.0.1:0", "--state-dir", filepath.Join(t.TempDir(), "state"))
	}
	plain := func(args []string) []string { // Plaintext against the TLS listeners.
		args[2] = "kafka://tintype@" + s.broker.SecureAddr() + "?sasl=scram-sha-512"
		return args
	}
	foreignCA := func(args []string) []string { // Of ClickHouse alone.
		args[4] = strings.Replace(args[4], s.cert, otherCert, 1)
		return args
	}
	// Who may not write learns so from an upload.
	if _, said, code := s.do(t, kafkaPassword, clickHousePassword,
		append(s.flags("produce", "tintype", s.cert), "--blobs", "file://"+filepath.ToSlash(s.dir), "--synthetic", "1", "--small")...); code != 0 {
		t.Fatalf("produce: %s", said)
	}
	with := func(args []string, i int, from, to string) []string {
		args[i] = strings.Replace(args[i], from, to, 1)
		return args
	}
	named := func(args []string, i int) []string {
		args[i] += "&server_name=somewhere.else"
		return args
	}
	for name, c := range map[string]struct {
		args              []string
		kafka, clickHouse string
		want              string
	}{
		"the broker's certificate":  {run("tintype", otherCert), kafkaPassword, clickHousePassword, "is ca= in --kafka"},
		"the broker's password":     {run("tintype", s.cert), "wrong", clickHousePassword, "TINTYPE_KAFKA_PASSWORD"},
		"the broker's TLS":          {plain(run("tintype", s.cert)), kafkaPassword, clickHousePassword, "TLS"},
		"ClickHouse's certificate":  {foreignCA(run("tintype", s.cert)), kafkaPassword, clickHousePassword, "is ca= in --clickhouse"},
		"ClickHouse's password":     {run("tintype", s.cert), kafkaPassword, "wrong", "TINTYPE_CLICKHOUSE_PASSWORD"},
		"all rights":                {run("nobody", s.cert), kafkaPassword, clickHousePassword, "allow the user nobody at kafka+tls://"},
		"the right to transactions": {run("transactionless", s.cert), kafkaPassword, clickHousePassword, "allow the user transactionless"},
		"the broker's name":         {named(run("tintype", s.cert), 2), kafkaPassword, clickHousePassword, "server_name="},
		"ClickHouse's name":         {named(run("tintype", s.cert), 4), kafkaPassword, clickHousePassword, "server_name="},
		"a broker without TLS":      {with(run("tintype", s.cert), 2, s.broker.SecureAddr(), s.broker.Addr()), kafkaPassword, clickHousePassword, "TLS"},
		"a ClickHouse without TLS":  {with(run("tintype", s.cert), 4, s.clickHouse, devtest.ClickHouse(t).Native()), kafkaPassword, clickHousePassword, "TLS"},
		"ClickHouse's TLS":          {with(with(run("tintype", s.cert), 4, "clickhouse+tls", "clickhouse"), 4, "?ca="+s.cert, ""), kafkaPassword, clickHousePassword, "TLS"},
		"the right to write":        {run("writeless", s.cert), kafkaPassword, clickHousePassword, "allow the user writeless"},
		"a producer's right":        {append(s.flags("produce", "writeless", s.cert), "--blobs", "file://"+filepath.ToSlash(s.dir), "--synthetic", "20", "--small"), kafkaPassword, clickHousePassword, "allow the user writeless"},
		"an auditor's right":        {s.flags("audit", "nobody", s.cert), kafkaPassword, clickHousePassword, "allow the user nobody"},
		"the right to create":       {append(run("createless", s.cert), "--deployment", "other", "--uploads-topic", "other-uploads"), kafkaPassword, clickHousePassword, "Create while one is missing"},
		"the right to groups":       {run("groupless", s.cert), kafkaPassword, clickHousePassword, "on the groups with the prefix tintype-"},
	} {
		t.Run(name, func(t *testing.T) {
			var kafkaCalls, clickHouseCalls *atomic.Int64
			c.args[2], kafkaCalls = counted(t, c.args[2])
			c.args[4], clickHouseCalls = counted(t, c.args[4])
			began := time.Now()
			_, said, code := s.do(t, c.kafka, c.clickHouse, c.args...)
			lines := strings.Split(strings.TrimSpace(said), "\n")
			last := lines[len(lines)-1]
			if code != 3 || !strings.HasPrefix(last, "tintype: ") || !strings.Contains(last, c.want) {
				t.Errorf("exit code %d after %v, want 3 and a last line with %q: %s", code, time.Since(began), c.want, last)
			}
			// Each stage may say once what it goes on without.
			if len(lines) > 3+len(topologies.Stages()) || strings.Count(said, "\ntintype: ") > 1 {
				t.Errorf("%d lines: it tried again and again: %s", len(lines), said)
			}
			if strings.Contains(said, kafkaPassword) || strings.Contains(said, clickHousePassword) {
				t.Errorf("it tells a password: %s", said)
			}
			if a, b := kafkaCalls.Load(), clickHouseCalls.Load(); a == 0 || max(a, b) > maxCalls {
				t.Errorf("%d connections to the broker's address, %d to ClickHouse's", a, b)
			} else {
				t.Logf("%d connections to the broker's address, %d to ClickHouse's", a, b)
			}
		})
	}
}
