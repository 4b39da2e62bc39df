package load

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
)

//go:embed migrations/*.sql
var migrations embed.FS

// schemaVersion is the version of the newest migration.
const schemaVersion = 3

// migrateTries bounds how often Migrate tries: two processes that start at once
// may get in each other's way.
const migrateTries = 5

// Open connects and asks the server whether it is there.
func Open(ctx context.Context, options *clickhouse.Options) (driver.Conn, error) {
	conn, err := clickhouse.Open(options)
	if err != nil {
		return nil, fmt.Errorf("load: connect to ClickHouse: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if err := conn.Ping(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("load: ClickHouse at %s does not answer as asked: %w", options.Addr[0], err), conn.Close())
	}
	return conn, nil
}

// Migrate brings the schema of the options' database up to date. It does no
// harm when it is up to date, or when another process does the same.
func Migrate(ctx context.Context, options *clickhouse.Options) error {
	var err error
	for try := range migrateTries {
		if try > 0 {
			select {
			case <-time.After(time.Duration(try) * 200 * time.Millisecond):
			case <-ctx.Done():
				return errors.Join(err, ctx.Err())
			}
		}
		if err = migrate(ctx, options); err == nil {
			return nil
		}
	}
	return fmt.Errorf("load: migrate database %s: %w", options.Auth.Database, err)
}

func migrate(ctx context.Context, options *clickhouse.Options) (err error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	db := clickhouse.OpenDB(options)
	defer func() { err = errors.Join(err, db.Close()) }()
	provider, err := goose.NewProvider(database.DialectClickHouse, db, files)
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}

// CheckSchema reports whether the database has the schema that this program
// writes.
func CheckSchema(ctx context.Context, conn driver.Conn) error {
	var version int64
	err := conn.QueryRow(ctx, "SELECT max(version_id) FROM goose_db_version WHERE is_applied = 1").Scan(&version)
	switch {
	case err != nil:
		return fmt.Errorf("load: read the schema's version (tintype run creates the tables): %w", err)
	case version < schemaVersion:
		return fmt.Errorf("load: the schema has version %d, this program writes %d: tintype run brings it up to date", version, schemaVersion)
	case version > schemaVersion:
		return fmt.Errorf("load: the schema has version %d, newer than the %d of this program: update tintype", version, schemaVersion)
	}
	return nil
}
