namespace StellaInterop.Server.Protocols;

/// <summary>The JSON schemas of answers. The tests validate every answer that they get.</summary>
internal static class AnswerSchemas
{
    public const string Vector = """{"type":"array","items":{"type":"number"}}""";

    public const string Vectors = $$"""{"type":"array","items":{{Vector}}}""";

    public const string TokenVectors = $$"""{"type":"array","items":{{Vectors}}}""";

    public const string Texts = """{"type":"array","items":{"type":"string"}}""";

    public const string OpenAIError = """
        {"type":"object","required":["error"],"additionalProperties":false,"properties":{"error":{
        "type":"object","required":["message","type","param","code"],"additionalProperties":false,"properties":{
        "message":{"type":"string"},"type":{"type":"string"},"param":{"type":["string","null"]},"code":{"type":["string","null"]}}}}}
        """;

    public const string OpenAIEmbeddings = $$$"""
        {"type":"object","required":["object","data","model","usage"],"additionalProperties":false,"properties":{
        "object":{"const":"list"},"model":{"type":"string"},"truncated":{"type":"integer","minimum":1},
        "usage":{"type":"object","required":["prompt_tokens","total_tokens"],"additionalProperties":false,"properties":{
        "prompt_tokens":{"type":"integer"},"total_tokens":{"type":"integer"}} },
        "data":{"type":"array","items":{"type":"object","required":["object","index","embedding"],"additionalProperties":false,"properties":{
        "object":{"const":"embedding"},"index":{"type":"integer"},"scale":{"type":"number"},
        "embedding":{"oneOf":[{{{Vector}}},{"type":"string","contentEncoding":"base64"}]}} }} }}
        """;

    public const string OpenAIModel = """
        {"type":"object","required":["id","object","created","owned_by"],"additionalProperties":false,"properties":{
        "id":{"type":"string"},"object":{"const":"model"},"created":{"type":"integer"},"owned_by":{"type":"string"},"state":{"type":"string"}}}
        """;

    public const string OpenAIModels = $$$"""
        {"type":"object","required":["object","data"],"additionalProperties":false,"properties":{
        "object":{"const":"list"},"data":{"type":"array","items":{{{OpenAIModel}}}}} }
        """;

    public const string TeiError = """
        {"type":"object","required":["error","error_type"],"additionalProperties":false,"properties":{
        "error":{"type":"string"},"error_type":{"enum":["Unhealthy","Backend","Overloaded","Validation","Tokenizer","Empty"]}}}
        """;

    public const string TeiTokens = """
        {"type":"array","items":{"type":"array","items":{"type":"object","required":["id","text","special","start","stop"],"additionalProperties":false,
        "properties":{"id":{"type":"integer"},"text":{"type":"string"},"special":{"type":"boolean"},"start":{"type":["integer","null"]},"stop":{"type":["integer","null"]}}}}}
        """;

    public const string TeiInfo = """
        {"type":"object","required":["model_id","model_dtype","model_type","max_concurrent_requests","max_input_length","max_batch_tokens",
        "max_client_batch_size","auto_truncate","tokenization_workers","version"],"properties":{
        "model_id":{"type":"string"},"model_dtype":{"type":"string"},"served_model_name":{"type":"string"},"max_concurrent_requests":{"type":"integer"},
        "max_input_length":{"type":"integer"},"max_batch_tokens":{"type":"integer"},"max_client_batch_size":{"type":"integer"},
        "auto_truncate":{"type":"boolean"},"tokenization_workers":{"type":"integer"},"version":{"type":"string"},
        "dimensions":{"type":"array","items":{"type":"integer"}},"prompts":{"type":"array","items":{"type":"string"}}}}
        """;

    public const string OllamaError = """
        {"type":"object","required":["error"],"additionalProperties":false,"properties":{"error":{"type":"string"}}}
        """;

    public const string OllamaEmbed = $$$"""
        {"type":"object","required":["model","embeddings"],"additionalProperties":false,"properties":{
        "model":{"type":"string"},"embeddings":{{{Vectors}}},"total_duration":{"type":"integer"},"load_duration":{"type":"integer"},
        "prompt_eval_count":{"type":"integer"},"truncated":{"type":"integer","minimum":1}} }
        """;

    public const string OllamaEmbeddings = $$$"""
        {"type":"object","required":["embedding"],"additionalProperties":false,"properties":{"embedding":{{{Vector}}},"truncated":{"type":"integer","minimum":1}} }
        """;

    public const string OllamaTags = """
        {"type":"object","required":["models"],"additionalProperties":false,"properties":{"models":{"type":"array","items":{
        "type":"object","required":["name","model","modified_at","size","digest","details"],"properties":{
        "name":{"type":"string"},"model":{"type":"string"},"modified_at":{"type":"string"},"size":{"type":"integer"},"digest":{"type":"string"},
        "details":{"type":"object"},"state":{"type":"string"}}}}}}
        """;

    public const string OllamaLoaded = """
        {"type":"object","required":["models"],"additionalProperties":false,"properties":{"models":{"type":"array","items":{
        "type":"object","required":["name","model","size","digest","details","expires_at","size_vram","context_length"],"additionalProperties":false,"properties":{
        "name":{"type":"string"},"model":{"type":"string"},"size":{"type":"integer"},"digest":{"type":"string"},"details":{"type":"object"},
        "expires_at":{"type":"string"},"size_vram":{"type":"integer"},"context_length":{"type":"integer"}}}}}}
        """;

    public const string OllamaShow = """
        {"type":"object","required":["modified_at","license","modelfile","parameters","template","system","details","model_info","capabilities"],
        "additionalProperties":false,"properties":{
        "modified_at":{"type":"string"},"license":{"type":"string"},"modelfile":{"type":"string"},"parameters":{"type":"string"},
        "template":{"type":"string"},"system":{"type":"string"},
        "details":{"type":"object"},"model_info":{"type":"object"},"capabilities":{"type":"array","items":{"type":"string"}}}}
        """;

    public const string OllamaVersion = """
        {"type":"object","required":["version"],"additionalProperties":false,"properties":{"version":{"type":"string"}}}
        """;

    public const string Health = """
        {"type":"object","required":["status","models"],"additionalProperties":false,"properties":{"status":{"enum":["live","ready"]},"models":{
        "type":"array","items":{"type":"object","required":["name","state","status"],"additionalProperties":false,"properties":{
        "name":{"type":"string"},"state":{"type":"string"},"status":{"enum":["healthy","degraded","unhealthy"]}}}}}}
        """;
}
