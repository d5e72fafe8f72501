using Npgsql;
using StellaInterop.Cluster.Membership;

namespace StellaInterop.Cluster.Tests.Membership;

internal sealed class ClusterAddressTests
{
    [TestCase("postgres://stella:secret@db.example.org/jobs", "Host=db.example.org;Database=jobs;Username=stella;Password=secret")]
    [TestCase("postgresql://db.example.org:6543/jobs", "Host=db.example.org;Database=jobs;Port=6543")]
    [TestCase("postgres://a%40b:p%2Fq%3A%3F@[::1]:5432/a%20b", "Host=::1;Database=a b;Username=a@b;Password=\"p/q:?\"")]
    [TestCase("postgres://db/jobs?sslmode=verify-full&sslrootcert=%2Fca.pem&Maximum%20Pool%20Size=9", "Host=db;Database=jobs;SSL Mode=VerifyFull;Root Certificate=/ca.pem;Maximum Pool Size=9")]
    [TestCase("POSTGRES://db/jobs?connect_timeout=3&application_name=x", "Host=db;Database=jobs;Timeout=3;Application Name=x")]
    public void An_address_of_PostgreSQL_becomes_a_connection_string(string address, string expected)
    {
        var actual = new NpgsqlConnectionStringBuilder(((PostgresStore)ClusterAddress.Parse(address).Store).ConnectionString);
        var wanted = new NpgsqlConnectionStringBuilder(expected);
        Assert.Multiple(() =>
        {
            foreach (string key in wanted.Keys)
            {
                Assert.That(actual[key], Is.EqualTo(wanted[key]), key);
            }

            Assert.That(actual.Port, Is.EqualTo(wanted.Port));
        });
    }

    [TestCase("redis://cache.example.org", "cache.example.org:6379", null, null, 0, false)]
    [TestCase("redis://:sec%40ret@cache:6380/3", "cache:6380", null, "sec@ret", 3, false)]
    [TestCase("rediss://stella:secret@10.0.0.5:7000/", "10.0.0.5:7000", "stella", "secret", 0, true)]
    public void An_address_of_Redis_becomes_options_of_a_connection(string address, string endPoint, string? user, string? password, int database, bool isEncrypted)
    {
        StackExchange.Redis.ConfigurationOptions options = ((RedisStore)ClusterAddress.Parse(address).Store).Connection;
        Assert.That(
            ($"{options.EndPoints.Single()}".Split('/')[^1], options.User, options.Password, options.DefaultDatabase, options.Ssl),
            Is.EqualTo((endPoint, user, password, (int?)database, isEncrypted)));
    }

    [TestCase("localhost", 11111)]
    [TestCase("localhost:20000", 20000)]
    public void Localhost_has_a_default_port(string address, int port) =>
        Assert.That(((LocalhostStore)ClusterAddress.Parse(address).Store).Port, Is.EqualTo(port));

    [TestCase("postgres://stella:secret@db.example.org/jobs?password=secret", "postgres://db.example.org:5432/jobs")]
    [TestCase("postgres://[::1]/jobs", "postgres://[::1]:5432/jobs")]
    [TestCase("redis://stella:secret@cache/2", "redis://cache:6379/2")]
    [TestCase("rediss://:secret@10.0.0.5:7000", "rediss://10.0.0.5:7000/0")]
    [TestCase("localhost", "localhost:11111")]
    public void A_shown_address_has_no_password(string address, string expected)
    {
        ClusterAddress parsed = ClusterAddress.Parse(address);
        Assert.That((parsed.Shown, $"{parsed}"), Is.EqualTo((expected, expected)));
    }

    [TestCase("", "is not localhost")]
    [TestCase("db.example.org", "is not localhost")]
    [TestCase("mysql://secret@db/jobs", "begins with none of")]
    [TestCase("stella:secret@db/jobs", "begins with none of")]
    [TestCase("postgres://stella:sec/ret@db/jobs", "it is not a URL")]
    [TestCase("postgres://stella:secret@db", "it names no database")]
    [TestCase("postgres:///jobs", "it names no host")]
    [TestCase("postgres://db/jobs?sslmode=never", "'sslmode'")]
    [TestCase("postgres://db/jobs?fast=true", "the option 'fast' is not known")]
    [TestCase("postgres://db/jobs?fast", "the option 'fast' has no value")]
    [TestCase("redis://cache/one", "'one' is not the number of a database")]
    [TestCase("redis://cache/0?ssl=true", "the option 'ssl' is not known")]
    [TestCase("redis://", "not")]
    [TestCase("localhost:0", "'0' is not a port")]
    [TestCase("localhost:65535", "'65535' is not a port from 1 to 65534")]
    [TestCase("localhost:x", "'x' is not a port")]
    public void A_wrong_address_is_refused_with_the_reason_and_examples(string address, string reason) =>
        Assert.That(
            () => ClusterAddress.Parse(address),
            Throws.ArgumentException.With.Message.Contains(reason).And.Message.Contains("postgres://user:password@host:5432/database").And.Message.Not.Contains("secret"));
}
