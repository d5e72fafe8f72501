// Installs programs that read the parts of bulk jobs without code of this project. The tests run them if STELLA_CLIENTS names the folder.

var partReaders = clients.Combine("readers");

Task("PartReaders")
    .Description("Installs readers of Parquet from npm into artifacts/clients/readers, by version and hash, for the tests of bulk jobs (Linux, npm). NumPy comes from the system.")
    .Does(() => InstallNpm(root.Combine("tests/StellaInterop.Bulk.Tests/Readers/Npm"), partReaders));
