package servers

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
)

func TestParseKafka(t *testing.T) {
	for address, want := range map[string]struct {
		brokers []string
		options int
	}{
		"a:9092":                        {[]string{"a:9092"}, 0},
		"a:9092,b:9093":                 {[]string{"a:9092", "b:9093"}, 0},
		"kafka://a:9092,b:9093/":        {[]string{"a:9092", "b:9093"}, 0},
		"kafka://me:pw@a:9092":          {[]string{"a:9092"}, 1},
		"kafka+tls://a:9093":            {[]string{"a:9093"}, 1},
		"kafka+tls://me@a:1?sasl=plain": {[]string{"a:1"}, 2},
		"[::1]:9092":                    {[]string{"[::1]:9092"}, 0},
	} {
		k, err := ParseKafka(address, "")
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		if !slices.Equal(k.Brokers, want.brokers) || len(k.Options) != want.options {
			t.Errorf("%s: brokers %v, %d options", address, k.Brokers, len(k.Options))
		}
		if strings.Contains(k.String(), "me") || strings.Contains(k.String(), "pw") {
			t.Errorf("%s prints its user: %s", address, k)
		}
	}
}

func TestParseKafkaRefuses(t *testing.T) {
	for _, address := range []string{
		"", "a", "a:", ":1", "a:1,", "http://a:1", "kafka://a:1?sasl=plain", "kafka://me:secret@a:1?sasl=gssapi",
		"kafka+tls://a:1?cca=x", "kafka+tls://a:1?ca=/does/not/exist", "kafka+tls://a:1?cert=x", "kafka+tls://a:1?insecure=perhaps",
	} {
		k, err := ParseKafka(address, "")
		if err == nil {
			t.Errorf("%q was read as %v", address, k)
			continue
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error shows the password: %v", address, err)
		}
	}
}

func TestParseClickHouse(t *testing.T) {
	o, err := ParseClickHouse("h", "")
	if err != nil || o.Addr[0] != "h:9000" || o.Auth.Username != "default" || o.Auth.Database != "default" || o.TLS != nil {
		t.Errorf("defaults: %+v, %v", o, err)
	}
	o, err = ParseClickHouse("clickhouse+tls://me:old@h/photos?server_name=x", "new")
	if err != nil || o.Addr[0] != "h:9440" || o.Auth.Username != "me" || o.Auth.Password != "new" || o.Auth.Database != "photos" ||
		o.TLS == nil || o.TLS.ServerName != "x" || o.TLS.MinVersion != tls.VersionTLS12 {
		t.Errorf("all of it: %+v, %v", o, err)
	}
	for _, address := range []string{"", "http://h", "clickhouse://", "clickhouse://h?secure=true", "clickhouse://me:secret@h:port/x"} {
		_, err := ParseClickHouse(address, "")
		if err == nil {
			t.Errorf("%q was accepted", address)
			continue
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error shows the password: %v", address, err)
		}
	}
}

func TestSecret(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("from file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := Secret("TINTYPE_TEST_SECRET"); got != "" || err != nil {
		t.Errorf("unset: %q, %v", got, err)
	}
	t.Setenv("TINTYPE_TEST_SECRET_FILE", file)
	if got, err := Secret("TINTYPE_TEST_SECRET"); got != "from file" || err != nil {
		t.Errorf("from a file: %q, %v", got, err)
	}
	t.Setenv("TINTYPE_TEST_SECRET", "from env")
	if got, err := Secret("TINTYPE_TEST_SECRET"); got != "from env" || err != nil {
		t.Errorf("from the environment: %q, %v", got, err)
	}
	t.Setenv("TINTYPE_OTHER_FILE", file+".none")
	if _, err := Secret("TINTYPE_OTHER"); err == nil {
		t.Error("a file that is not there was read")
	}
}

func TestCodecsAreFramedByTheRegistry(t *testing.T) {
	registry := srfake.New()
	t.Cleanup(registry.Close)
	topics := event.TopicsOf("", "")
	for range 2 { // Registering again finds the same ids.
		codecs, err := Codecs(t.Context(), registry.URL(), "", topics)
		if err != nil {
			t.Fatal(err)
		}
		data, err := codecs.Developed.Encode(&eventpb.Developed{Outcome: eventpb.Outcome_OUTCOME_LOST})
		if err != nil {
			t.Fatal(err)
		}
		if len(data) < 6 || data[0] != 0 {
			t.Fatalf("the value is not framed: %x", data)
		}
		if d := event.NewCodecs().Developed.Read(data); d.Err != nil || d.Message.Outcome != eventpb.Outcome_OUTCOME_LOST {
			t.Fatalf("read back %+v", d)
		}
	}
	if err := CheckRegistry(t.Context(), registry.URL(), ""); err != nil {
		t.Error(err)
	}
	if _, err := Codecs(t.Context(), "http://127.0.0.1:1", "", topics); err == nil {
		t.Error("a registry that is not there was used")
	}
}

// What a server refused is told with what to do; what heals by itself is not
// called a refusal.
func TestAdvice(t *testing.T) {
	k, err := ParseKafka("kafka://me:secret@a:1", "")
	if err != nil {
		t.Fatal(err)
	}
	nobody, err := ParseKafka("a:1", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		kafka *Kafka
		err   error
		want  string
	}{
		{k, kerr.TopicAuthorizationFailed, "allow the user me at kafka://a:1 Read, Write, Describe and DescribeConfigs on the deployment's topics and on those with the prefix p-"},
		{k, kerr.GroupAuthorizationFailed, "Read and Describe on the groups with the prefix p-"},
		{k, kerr.TransactionalIDAuthorizationFailed, "Write and Describe on the transactional ids with the prefix p-"},
		{k, kerr.ClusterAuthorizationFailed, "IdempotentWrite on the cluster"},
		{nobody, kerr.GroupAuthorizationFailed, "allow this client, which names no user, at kafka://a:1"},
		{k, &clickhouse.Exception{Code: 497, Message: "Not enough privileges"}, "grant the user in --clickhouse SELECT, INSERT, CREATE TABLE"},
		{k, &clickhouse.Exception{Code: 164, Message: "readonly"}, "grant the user in --clickhouse"},
		{k, &clickhouse.Exception{Code: 516, Message: "password"}, "TINTYPE_CLICKHOUSE_PASSWORD"},
	} {
		told := c.kafka.Advise(fmt.Errorf("stage: %w", c.err), "p-")
		if !Refused(told) || !strings.Contains(told.Error(), c.want) || strings.Contains(told.Error(), "\n") || strings.Contains(told.Error(), "secret") {
			t.Errorf("%v is told as %q, want %q", c.err, told, c.want)
		}
	}
	for _, healing := range []error{nil, io.EOF, kerr.NotController, &clickhouse.Exception{Code: 252}} {
		if told := k.Advise(healing, "p-"); Refused(healing) || !errors.Is(told, healing) || (healing != nil && told.Error() != healing.Error()) {
			t.Errorf("%v is told as %v", healing, told)
		}
	}
	if err := AdviseClickHouse(nil); err != nil {
		t.Error(err)
	}
	for want, err := range map[string]error{
		"is ca= in --clickhouse": &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, "speak TLS": io.EOF, "tintype dev": syscall.ECONNREFUSED,
	} {
		if told := AdviseClickHouse(fmt.Errorf("load: %w", err)); !strings.Contains(told.Error(), want) {
			t.Errorf("%v is told as %v, want %s", err, told, want)
		}
	}
}
