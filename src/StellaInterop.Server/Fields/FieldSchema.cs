namespace StellaInterop.Server.Fields;

/// <summary>Describes a field without the request that it belongs to, for the API description.</summary>
internal interface IFieldSchema
{
    string Name { get; }

    FieldType Type { get; }

    string Description { get; }

    bool IsRequired { get; }

    /// <summary>Gets the allowed values of a field of text; <see langword="null"/> for any.</summary>
    IReadOnlyList<string>? Choices { get; }

    /// <summary>Gets the fields of a <see cref="FieldType.Group"/>.</summary>
    IReadOnlyList<IFieldSchema> Fields { get; }
}
